"""Careless random templates: operands of every type meet every operator, filter, test and method, and many fail."""
import random
NAMES=["n","f","s","u","l","d","m","b","t","e","missing","ls","ld","x","y"]
CONTEXT={"n":7,"f":2.5,"s":"Hello, World","u":"Ünï ß 日本 e\u0301 😀\tx","l":[3,1,2],"d":{"a":1,"b":[1,2.0,None],"items":"k","é":{"z":"q"}},
 "m":[{"role":"user","content":"hi <b> & 'q'"},{"role":"assistant","content":None,"n":-3},{"role":"tool","content":"  pad\n\n ","n":1.0}],
 "b":True,"t":False,"e":"","ls":["b","A","c","a"],"ld":[{"k":"x","v":2},{"k":"Y","v":1},{"v":3}],"x":-4,"y":None}
TEXTS=["a","\n"," ","  \n  ","text","<|im_start|>","é","\t","\r\n","\n\n","}","{ ","%","# "," x "]
class G:
    def __init__(self, rng): self.r=rng; self.depth=0; self.loops=0; self.macros=[]; self.inloop=False; self.vars=list(NAMES)
    def c(self, xs): return self.r.choice(xs)
    def p(self, q): return self.r.random()<q
    def string(self):
        return self.c(['"abc"',"'x'",'""',"'a,b,c'",'"<think>\\n"',"'\\t'",'"é日"',"'it\\'s'",'"q\\"q"',"'  pad '","'Hello'","'aXbXc'","'\\u00e9'","'l'","'\\n'","'%s-%d'","'{}'","'A'","'user'","'a'","'ß'","'\\x41\\101'","'1'","'-2.5'","'z\\d'", '"a" "b"'])
    def num(self): return self.c(["0","1","2","3","-1","10","1.5","0.1","-2.0","1e3","100","7","1_000","0x1f","2.675","1e16","1e-7","0o17","0b11"])
    def atom(self):
        k=self.r.random()
        if k<.35: return self.c(self.vars)
        if k<.55: return self.string()
        if k<.75: return self.num()
        if k<.85: return self.c(["true","false","none","True","None"])
        if k<.9: return "loop."+self.c(["index","index0","first","last","length","revindex","revindex0","previtem","nextitem","depth"])
        if k<.95: return self.c(["[]","{}","()","[1, 'a']","(1,)","(1, 2)","{'k': 1}","[[1,2],[3]]","{1: 'a', 'b': none}"])
        return self.c(["m[0]","m[1].content","d.b","d['é']","d.items","ld[0].k","m[-1]['role']","l[5]","d.nope","s[0]","u[4]","none.x","n.y"])
    def args(self, *opts): return self.c(opts)
    def expr(self, d=0):
        r=self.r
        if d>3 or r.random()<.25: return self.atom()
        k=r.random(); E=lambda: self.expr(d+1)
        if k<.14: return f"{E()} {self.c(['+','-','*','/','//','%','~','+','~','**'])} {E()}"
        if k<.22: return f"{E()} {self.c(['==','!=','<','>','<=','>=','in','not in'])} {E()}"
        if k<.27: return f"{E()} {self.c(['and','or'])} {E()}"
        if k<.30: return f"not {E()}"
        if k<.34: return f"({E()})"
        if k<.38: return f"{E()} if {E()} else {E()}"
        if k<.40: return f"{E()} if {E()}"
        if k<.43: return "["+", ".join(E() for _ in range(r.randint(0,3)))+"]"
        if k<.46: return "{"+", ".join(f"{self.c([self.string(),'1','true','1.0','none','n'])}: {E()}" for _ in range(r.randint(0,3)))+"}"
        if k<.48: return "("+", ".join(E() for _ in range(r.randint(1,3)))+",)"
        if k<.53: return f"{self.post(d)}[{self.c([E(),E(),self.sl(),self.sl()])}]"
        if k<.56: return f"{self.post(d)}.{self.c(['a','b','role','content','items','keys','k','v','0','1','real','nope','count','upper'])}"
        if k<.68: return self.method(d)
        if k<.88: return f"{self.post(d)}|{self.filter(d)}"
        if k<.96: return f"{self.post(d)} is {self.c(['','','not '])}{self.test(d)}"
        if k<.98: return self.c(["range(3)","range(1, 10, 3)","range(n)","range(3)|list","range(5,0,-2)","dict(a=1)","namespace(q=1)","dict([('a',1)])","range(l)", "range(0,10)[2:5]", "range(4)[-1]"])
        if self.macros: return f"{self.c(self.macros)}({', '.join(E() for _ in range(r.randint(0,2)))})"
        return f"-{self.atom()}"
    def post(self,d):
        k=self.r.random()
        if k<.6: return self.atom()
        return f"({self.expr(d+1)})"
    def sl(self):
        o=["","","1","-1","2","-2","0","10","-10","n","none"]
        s=f"{self.c(o)}:{self.c(o)}"
        if self.p(.4): s+=f":{self.c(['','-1','2','-2','1','0','3'])}"
        return s
    def strx(self,d): return self.c(["s","u","'  x y '","m[0].content","e","'a,b,,c'","'line1\\nline2\\r\\nl3'",self.string(),"("+self.expr(d+1)+")|string", "'ABC def'"])
    def method(self,d):
        S=self.strx(d); q=self.string
        k=self.r.random()
        if k<.7:
            m=self.c(["upper()","lower()","strip()","lstrip()","rstrip()","title()","capitalize()","swapcase()",f"strip({q()})",f"lstrip({q()})",f"rstrip({q()})",
              f"split({q()})","split()",f"split({q()}, 1)",f"split({q()})[-1]",f"split({q()})[0]",f"rsplit({q()}, 1)","rsplit(none, 1)","split(maxsplit=1)","split(sep=',')","splitlines()","splitlines(true)",f"startswith({q()})",f"endswith({q()})",
              f"startswith(('a', {q()}))",f"replace({q()}, {q()})",f"replace({q()}, {q()}, 1)","replace('', '-')",f"find({q()})",f"rfind({q()})",f"count({q()})",f"index({q()})",f"find({q()}, 2)",f"find({q()}, 1, -1)",f"join(ls)",f"join(l)",f"join([{q()}, s])","isdigit()","isalpha()","isupper()","islower()","isspace()","istitle()","isalnum()","zfill(5)","center(9)","center(8, '*')","ljust(7)","rjust(12)",
              f"partition({q()})",f"rpartition({q()})",f"removeprefix({q()})",f"removesuffix({q()})","format(n, s)","format(a=1)","casefold()","isidentifier()","expandtabs(4)","count('')","startswith('l', 2)","nope()","endswith('d', 0, 5)","find('', 99)","encode()"])
            return f"{S if not S.endswith('string') else '('+S+')'}.{m}"
        if k<.9:
            return self.c(["d","m[0]","m[1]","{}","{'x': 1, 'y': 2}","ld[0]"])+"."+self.c(["items()","keys()","values()","get('a')","get('nope')","get('nope', 5)","items()|list","keys()|list","values()|list","get('k','z')","copy()","update({})","pop('a')","items()|first","keys()|join(',')","get([])","values()|list|tojson","items()|length","get(role)"])
        return self.c(["l","ls","[1,2,1]","(1,2)","m"])+"."+self.c(["index(1)","count(1)","append(3)","copy()","index(9)","pop()","index(2, 1)","sort()","count('a')"])
    def filter(self,d):
        q=self.string; E=lambda: self.expr(d+2)
        return self.c(["upper","lower","capitalize","title","trim",f"trim({q()})","length","count","first","last","join",f"join({q()})","join(', ')","default('z')","d('z', true)",f"default({E()})","tojson","tojson(indent=2)","tojson(indent=4)","tojson(true)","tojson(separators=(',', ':'))","tojson(sort_keys=true)","tojson(ensure_ascii=true, indent=1)","string","int","int(5)","int(base=16)","float","float(1.5)","abs","round","round(1)","round(2)","round(1, 'floor')","round(0, 'ceil')","round(-1)","list","sort","sort(reverse=true)","sort(attribute='v')","sort(case_sensitive=true)","unique|list","reverse|list","reverse","items|list","items","dictsort","dictsort(by='value')","dictsort(reverse=true)","map('upper')|list","map(attribute='role')|list","map(attribute='k', default='?')|join(',')","map('string')|join","map('length')|list","map('int')|sum","select|list","select('string')|list","select('gt', 1)|list","reject('none')|list","selectattr('role')|list","selectattr('role', 'equalto', 'user')|list","selectattr('v', 'defined')|list|length","rejectattr('content', 'none')|list","rejectattr('n', 'defined')|list","map(attribute='content')|select|list","sum","sum(attribute='v')","sum(start=10)","min","max","max(attribute='v')","min(case_sensitive=true)","replace('a', 'b')",f"replace({q()}, {q()})","replace('l', 'L', 1)","indent","indent(2)","indent(2, true)","indent('> ')","indent(first=true, blank=true)","e","escape","safe","forceescape","batch(2)|list","batch(2, 'x')|list","slice(2)|list","slice(3, 0)|list","wordcount","center(20)","groupby('v')|list","groupby('role')|list","attr('upper')","attr('k')","format(1, 2)","format(s)","truncate(5)","truncate(5, true, '..')","truncate(8, leeway=0)","nosuch","upper(1)","join(1)","first|upper","tojson|length","list|length","list|last","items|first","xmlattr","map('nosuch')|list","map","selectattr|list","map('default', 'q')|list","map('tojson')|join(';')","map('trim')|list","select('in', l)|list","map(attribute=0)|list","sort|first","sort(attribute='k,v')", "join(d=', ', attribute='role')","pprint"])
    def test(self,d):
        return self.c(["defined","undefined","none","string","number","integer","float","boolean","true","false","mapping","iterable","sequence","callable","odd","even","divisibleby 3","divisibleby(2)","lower","upper","sameas true","sameas none","in [1,2]","in l","eq 1","equalto 'a'","ne 1","gt 1","lt 2","ge 0","le 5","escaped","filter","test","nosuch","in s","in d","== 1","greaterthan 1","lessthan n"])
    def ws(self): 
        return self.c(["","","","","","-","-","+"]), self.c(["","","","","","-","-","+"])
    def wsv(self): 
        return self.c(["","","","","-","+"]), self.c(["","","","-"])
    def out(self):
        a,b=self.wsv(); return "{{"+a+" "+self.expr()+" "+b+"}}"
    def tag(self,t):
        a,b=self.ws(); return "{%"+a+" "+t+" "+b+"%}"
    def text(self): return "".join(self.c(TEXTS) for _ in range(self.r.randint(0,3)))
    def newvar(self): return self.c(["x","y","z","w","n","s","ns","l"])
    def stmts(self, d=0):
        out=[]
        for _ in range(self.r.randint(1,4 if d==0 else 3)):
            out.append(self.text()); out.append(self.stmt(d))
        out.append(self.text())
        return "".join(out)
    def stmt(self,d):
        k=self.r.random(); T=self.tag; E=self.expr
        if d>3 or k<.4: return self.out()
        if k<.52:
            s=T("if "+E())+self.stmts(d+1)
            for _ in range(self.c([0,0,1])): s+=T("elif "+E())+self.stmts(d+1)
            if self.p(.5): s+=T("else")+self.stmts(d+1)
            return s+T("endif")
        if k<.68:
            it=self.c(["l","ls","m","d","range(3)","d.items()","s[:3]","ld","[]","missing","[1,2,3]","m[::-1]","d|dictsort","ls|sort","l|reverse","m|selectattr('content')","ld|map(attribute='v')","(1,2),(3,4)","{'a':1}|items","n","[[1,'a'],[2,'b']]",E(2)])
            tgt=self.c(["x","x","y","i","a, c","m","(a, c)","x"])
            if "items" in it or "(3,4)" in it or "dictsort" in it or "[[1" in it: tgt=self.c(["a, c","x","a, c"])
            cond=self.c(["","","",""," if "+self.c(["x","loop.first","x != 1","a",E(2),"i is odd"])])
            saved=self.inloop,list(self.vars); self.inloop=True; self.vars=self.vars+[t.strip(" ()") for t in tgt.split(",")]*2
            s=T(f"for {tgt} in {it}{cond}")+self.stmts(d+1)
            if self.p(.3): s+=T("if "+self.c(["loop.index > 1","loop.last",E(2)]))+T(self.c(["break","continue"]))+T("endif")+self.text()
            self.inloop,self.vars=saved
            if self.p(.25): s+=T("else")+self.stmts(d+1)
            return s+T("endfor")
        if k<.80:
            v=self.newvar()
            if v in("z","w") and v not in self.vars: self.vars.append(v)
            j=self.r.random()
            if j<.6: return T(f"set {v} = {E()}")
            if j<.7: return T(f"set {v}, w = {self.c([E()+', '+E(),'l[:2]','(1,2)',E()])}")
            if j<.8: return T(f"set {v}{self.c(['',' | upper',' | trim',' | length'])}")+self.stmts(d+1)+T("endset")
            return T("set ns = namespace(a=1, b='x')")+T(f"set ns.{self.c(['a','b','c'])} = {E()}")+"{{ ns.a }}{{ ns.c }}"
        if k<.86:
            name=self.c(["m1","m2","m3"]); 
            params=self.c(["","a","a, c=1","a, c='x', q=n","a=s"])
            saved=list(self.vars); self.vars+= ["a","c","a","varargs","kwargs"]
            body=self.stmts(d+1); self.vars=saved
            if self.p(.2): body+="{{ caller() if caller is defined }}"
            self.macros.append(name)
            return T(f"macro {name}({params})")+body+T("endmacro")+"{{ "+name+"("+self.c(["","1","s, 2","a=3","1, c=2","c=1","1,2,3", "q=1"])+") }}"
        if k<.89: return T("with "+self.c(["a = 1","a = s, c = n","x = "+E()]))+self.stmts(d+1)+T("endwith")
        if k<.91: return T("filter "+self.c(["upper","trim","replace('a','b')","indent","length","lower|title"]))+self.stmts(d+1)+T("endfilter")
        if k<.93: return T("generation")+self.stmts(d+1)+T("endgeneration")
        if k<.95: return self.c(["{# c #}","{#- c -#}","{#+ c +#}\n","{# \n #}","  {# x #}\n"])
        if k<.965: return self.tag("raw")+self.c(["{{ x }}"," {% if %} \n","\n  a"])+self.tag("endraw")
        if k<.98 and self.macros: return T(f"call{self.c(['','(a)','(a, c=2)'])} {self.c(self.macros)}({self.c(['','1'])})")+self.stmts(d+1)+T("endcall")
        if k<.985: return T("print "+E())
        if k<.99: return T(self.c(["break","continue","do x","block a","set = 1","endif","else","nosuch"]))
        return self.c(["{{ raise_exception('no ' ~ s) }}","{{ strftime_now('%d %b %Y') }}","{{ x }","{% if %}","{{ 'a }}","{{ [1,2 }}","{{ cycler('a','b').next() }}","{{ joiner()() }}","{{ a b }}","{{ $ }}"])
def template(seed):
    g=G(random.Random(seed))
    k=g.r.random()
    if k<.45: return "{{ "+g.expr()+" }}"
    return g.stmts()
