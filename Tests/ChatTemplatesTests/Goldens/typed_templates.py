"""Random templates, typed so that most of them render."""
import random
from mixed_templates import CONTEXT, TEXTS
CONTEXT=dict(CONTEXT)
CONTEXT.update({"words":["beta","Alpha","gamma","alpha"],"nums":[5,-2,8,0,13],"flts":[1.5,-0.25,3.0,2.675,1e20],"tools":[{"type":"function","function":{"name":"get","description":"Gets \"it\" <b>","parameters":{"type":"object","properties":{"x":{"type":"number","default":1e-7},"y":{"type":["string","null"],"enum":["a","é"]}},"required":["x"]}}},{"type":"function","function":{"name":"nop","parameters":{}}}],
 "parts":[{"type":"text","text":" hello "},{"type":"image"},{"type":"text","text":"w\n"}],"think":"<think>\nreason\n</think>\n\nanswer\n","big":9007199254740993,"neg":-17,"mixed":[1,"a",None,True,2.5,{"k":[]},[]],"z0":0,"emo":"a\U0001F600b\u0301c","crlf":"l1\r\nl2\rl3\n\n","tabs":"\t a \u00a0\u2003b\x1c","sigma":"ΑΣ ΟΔΥΣΣΕΥΣ ǆ ŉ İ ﬁ"})
class G:
    def __init__(self, rng): self.r=rng; self.macros=[]; self.ints=["n","x","neg","z0","nums[0]","l[1]"]; self.strs=["s","u","e","think","emo","crlf","tabs","sigma","m[0].content","m[0]['role']","words[0]","tools[0].function.name"]; self.bools=["b","t"]; self.ld=["m","ld","parts","tools"]; self.ls=["ls","words"]; self.li=["l","nums"]; self.d=["d","m[0]","tools[0]","tools[0].function.parameters","ld[0]"]; self.inloop=0
    def c(self,*xs): return self.r.choice(xs)
    def p(self,q): return self.r.random()<q
    def lit(self):
        body="".join(self.c("a","b","Z"," ","\\n","é","日","😀","\\t","\\\\","<","&","{","}","%","1","-","_",",",".","'" ,"\\u00fc","\\x41","ß","Σ") for _ in range(self.r.randint(0,6)))
        return '"'+body+'"' if "'" in body or self.p(.5) else "'"+body+"'"
    def wrong(self,f):
        return self.any(9) if self.p(.02) else f()
    def int(self,d=0):
        if d>2 or self.p(.3): return self.c(str(self.r.randint(-20,20)),str(self.r.randint(0,5)),self.c(*self.ints),"true" if self.p(.05) else "3", "loop.index" if self.inloop else "2","loop.index0" if self.inloop else "1", "loop.length" if self.inloop else "4","loop.revindex" if self.inloop else "5")
        I=lambda: self.wrong(lambda: self.int(d+1)); k=self.r.random()
        if k<.3: return f"({I()} {self.c('+','-','*','%','//','+','-')} {I()})"
        if k<.5: return f"({self.c(self.str,self.lis,self.lstr,self.lint,self.dic,self.ldic)(d+1)})|{self.c('length','count')}"
        if k<.6: return f"({self.lint(d+1)})|{self.c('sum','max','min','first','last')}"
        if k<.7: return f"({self.str(d+1)}).{self.c('find','rfind','count')}({self.str(d+2)}{self.c('','',', 1',', -3',', 0, 4')})"
        if k<.76: return f"-({I()})"
        if k<.82: return f"({self.c(self.float(d+1),self.str(d+1),I())})|int{self.c('','(7)','(default=3)','(0, 16)')}"
        if k<.86: return f"({I()})|abs"
        if k<.9: return f"{self.r.randint(0,9)} ** {self.r.randint(0,8)}"
        if k<.93: return f"({self.str(d+1)})|wordcount"
        if k<.96: return f"({I()} if {self.bool(d+1)} else {I()})"
        return f"({I()})|round({self.c('-1','-2','0','2')})"
    def float(self,d=0):
        if d>2 or self.p(.35): return self.c("f","1.5","0.1","-2.75","1e16","1e-5","123456.789","2.5","flts[3]","0.5","1e22","3.0","-0.0","5e-324","flts[4]", "1.7976931348623157e308")
        F=lambda: self.float(d+1); I=lambda:self.int(d+1); k=self.r.random()
        if k<.35: return f"({self.c(F(),I())} {self.c('+','-','*')} {F()})"
        if k<.5: return f"({I()} / {self.c('2','3','7','-4','10')})"
        if k<.6: return f"({F()} {self.c('//','%')} {self.c('2','0.3','-1.5','7')})"
        if k<.8: return f"({self.c(F(),F(),I())})|round{self.c('','(1)','(2)','(3)','(0)','(-1)','(1, ¨floor¨)','(2, ¨ceil¨)','(method=¨ceil¨)')}"
        if k<.9: return f"({self.c(I(),self.str(d+1),F())})|float{self.c('','(1.5)')}"
        return f"flts|{self.c('sum','max','min','first')}"
    def str(self,d=0):
        if d>3 or self.p(.3): return self.c(self.lit(),self.lit(),self.c(*self.strs))
        S=lambda: self.wrong(lambda: self.str(d+1)); L=self.lit; k=self.r.random()
        if k<.12: return f"({S()} + {S()})"
        if k<.22: return f"({S()} ~ {self.c(self.int(d+1),self.float(d+1),S(),self.bool(d+1),self.lis(d+1),self.dic(d+1),'none')})"
        if k<.28: return f"({S()})[{self.sl()}]"
        if k<.31: return f"({S()})[{self.c('0','-1','1')}]"
        if k<.58:
            m=self.c("upper()","lower()","strip()","lstrip()","rstrip()","title()","capitalize()","swapcase()",f"strip({L()})",f"lstrip({L()})",f"rstrip({L()})",f"replace({L()}, {L()})",f"replace({L()}, {L()}, {self.int(d+2)})","zfill(6)","center(11)","center(10,'*')","ljust(9)","rjust(12,'.')",f"split({L()})[0]" if True else "",f"split('a')[-1]",f"split('\\n')[{self.c('0','-1')}]",f"rsplit(' ',1)[-1]","split()|join('_')","splitlines()|join('|')",f"partition('a')[{self.r.randint(0,2)}]",f"rpartition(' ')[{self.r.randint(0,2)}]",f"removeprefix({L()})","removesuffix('o')",f"join({self.lstr(d+1)})","expandtabs(3)","split('</think>')[-1].lstrip('\\n')","split('<think>')[-1]|trim")
            return f"({S()}).{m}"
        if k<.8:
            f=self.c("upper","lower","trim","title","capitalize","string",f"trim({L()})",f"replace({L()}, {L()})",f"replace('a','b',1)","indent","indent(2, true)","indent('>> ')","indent(blank=true)","e","reverse","center(15)","truncate(6)","truncate(9, true)","truncate(7,end='…')","tojson","tojson(ensure_ascii=true)","default('x')","first|default('q')","last|default('w')","safe|upper", "list|join('.')", "e|string", "urlencode" if False else "trim")
            return f"({S()})|{f}"
        if k<.87: return f"({self.c(self.dic(d+1),self.ldic(d+1),self.lis(d+1),self.float(d+1),self.int(d+1),'tools','d','mixed')})|tojson{self.c('','','(indent=2)','(indent=4)','(sort_keys=true)' if False else '','(separators=(¨,¨,¨:¨))','(true)','(indent=0)','(indent=¨--¨)')}"
        if k<.92: return f"({self.lstr(d+1)})|join{self.c('','(¨, ¨)','('+L()+')')}"
        if k<.95: return f"({S()} if {self.bool(d+1)} else {S()})"
        if k<.97: return self.c("'%s|%5d|%-4s|%05.1f'|format(s, n, 'q', f)","'%s and %r' % (s, s)","'%d%%' % n","'{} {}'.format(n, s)","'{0}{1}{0}'.format(s, f)","'{a}'.format(a=l)","'{:>6}|{:<4}|{:^7}|'.format('a','b','c')","'{:.2f} {:05d} {:,}'.format(f, n, 1234567)","'%x %X %o' % (255, 255, 8)","'%(a)s' % {'a': s}", "'%.3s|%8.3f|%+d' % (s, f, n)")
        if self.macros: return self.c(*self.macros)+f"({self.str(d+2)})"
        return f"({self.c(*self.ls)})|first"
    def sl(self):
        I=lambda: self.c("","",str(self.r.randint(-5,6)),"n","none","-100","100")
        return f"{I()}:{I()}"+(f":{self.c('','1','2','-1','-2','3')}" if self.p(.4) else "")
    def bool(self,d=0):
        if d>2 or self.p(.2): return self.c("true","false","b","t","loop.first" if self.inloop else "true","loop.last" if self.inloop else "false","True")
        k=self.r.random(); B=lambda: self.bool(d+1)
        if k<.2: return f"({self.int(d+1)} {self.c('==','!=','<','>','<=','>=')} {self.c(self.int,self.float)(d+1)})"
        if k<.3: return f"({self.str(d+1)} {self.c('==','!=','<','>=','in','not in')} {self.str(d+1)})"
        if k<.4: return f"({self.any(d+1)} {self.c('in','not in')} {self.lis(d+1)})"
        if k<.5: return f"({B()} {self.c('and','or')} {B()})"
        if k<.55: return f"not ({self.any(d+1)})"
        if k<.65: return f"({self.str(d+1)}).{self.c('startswith','endswith')}({self.str(d+2)})"
        if k<.7: return f"({self.str(d+1)}).{self.c('isdigit','isalpha','isupper','islower','isspace','istitle','isalnum','isidentifier','isprintable','isascii','isnumeric','isdecimal')}()"
        if k<.92: return f"({self.any(d+1)}) is {self.c('','','not ')}{self.c('defined','undefined','none','string','number','integer','float','boolean','true','false','mapping','iterable','sequence','callable','sameas none','sameas true','escaped','in [1, 2, none]','eq 1','ne none','lower','upper')}"
        if k<.96: return f"({self.int(d+1)}) is {self.c('odd','even','divisibleby 3','gt 2','lt(5)','ge 1','le 0','not odd')}"
        return f"({self.lis(d+1)} {self.c('==','!=')} {self.lis(d+1)})"
    def lis(self,d=0):
        return self.c(self.lstr,self.lint,self.ldic,self.lany)(d)
    def lany(self,d=0):
        k=self.r.random()
        if d>2 or k<.3: return self.c("mixed","[]","[1, 'a', none]","(1, 'b')","[[1,2],[3]]","(,)" if False else "()","('x',)")
        if k<.6: return "["+", ".join(self.any(d+1) for _ in range(self.r.randint(0,3)))+"]"
        if k<.7: return f"({self.lany(d+1)} + [{self.any(d+1)}])"
        if k<.8: return f"({self.dic(d+1)}).{self.c('items','values','keys')}()|list"
        if k<.9: return f"({self.lany(d+1)})[{self.sl()}]"
        return f"({self.lis(d+1)})|{self.c('batch(2)|list','slice(2)|list','batch(3, 0)|list','slice(3, none)|list','reverse|list','select|list','reject|list','reject(¨none¨)|list','list','map(¨string¨)|list','select(¨defined¨)|list','map(¨tojson¨)|list','map(¨default¨, 1)|list','unique|list' if False else 'list')}"
    def lstr(self,d=0):
        if d>2 or self.p(.3): return self.c(*self.ls,"['x','Y','z']","s[:4]|list")
        k=self.r.random()
        if k<.2: return "["+", ".join(self.str(d+1) for _ in range(self.r.randint(0,3)))+"]"
        if k<.4: return f"({self.str(d+1)}).{self.c('split()','splitlines()','split(',')' if False else 'split(¨,¨)','rsplit(¨ ¨, 1)','split(¨a¨, 2)','split(none, 1)','rsplit(none, 2)','splitlines(true)')}"
        if k<.5: return f"({self.lstr(d+1)})[{self.sl()}]"
        if k<.8: return f"({self.lstr(d+1)})|{self.c('sort','sort(reverse=true)','sort(case_sensitive=true)','unique|list','map(¨upper¨)|list','map(¨trim¨)|list','select(¨ne¨,¨a¨)|list','reverse|list','map(¨length¨)|map(¨string¨)|list','map(¨replace¨,¨a¨,¨b¨)|list','select(¨in¨,¨abc¨)|list','reject(¨eq¨,¨x¨)|list','list','map(¨first¨)|map(¨default¨,¨¨)|list','map(¨title¨)|list','select(¨string¨)|list')}"
        if k<.9: return f"m|map(attribute='role')|list"
        return f"({self.dic(d+1)})|list|map('string')|list"
    def lint(self,d=0):
        if d>2 or self.p(.3): return self.c(*self.li,"[1,2,3]",f"range({self.r.randint(0,6)})|list","range(3,-3,-2)|list","range(6)")
        k=self.r.random()
        if k<.3: return "["+", ".join(self.int(d+1) for _ in range(self.r.randint(1,4)))+"]"
        if k<.5: return f"(({self.lint(d+1)})|list)[{self.sl()}]"
        return f"({self.lint(d+1)})|{self.c('sort','sort(reverse=true)','unique|list','map(¨abs¨)|list','select(¨odd¨)|list','reject(¨even¨)|list','select(¨gt¨, 2)|list','reverse|list','list','map(¨int¨)|list','select(¨divisibleby¨, 3)|list')}"
    def ldic(self,d=0):
        if d>2 or self.p(.5): return self.c(*self.ld)
        return f"({self.ldic(d+1)})|{self.c('selectattr(¨role¨)|list','selectattr(¨role¨,¨equalto¨,¨user¨)|list','rejectattr(¨role¨,¨eq¨,¨tool¨)|list','selectattr(¨v¨,¨defined¨)|list','selectattr(¨type¨,¨in¨,[¨text¨])|list','rejectattr(¨content¨,¨none¨)|list','reverse|list','list','selectattr(¨function.name¨,¨string¨)|list')}"
    def dic(self,d=0):
        if d>2 or self.p(.4): return self.c(*self.d,"{}","{'k': 1, 2: 'two', none: [], true: 0.5}")
        k=self.r.random()
        if k<.7: return "{"+", ".join(f"{self.c(self.lit(),self.lit(),str(self.r.randint(0,3)),'none','true','1.5','(1,2)' if self.p(.2) else '0')}: {self.any(d+1)}" for _ in range(self.r.randint(0,3)))+"}"
        if k<.85: return f"dict({self.dic(d+1)}, zz={self.any(d+1)})"
        return f"dict(({self.dic(d+1)})|items)"
    def any(self,d=0):
        if d>3: return self.c("none","missing","1","'a'","[]","d.nope","m[9]","true")
        return self.c(self.int,self.int,self.float,self.str,self.str,self.str,self.bool,self.lis,self.dic,lambda d: self.c("none","missing","d.nope","m[1].content","mixed[2]","missing|default(3)","mixed[3]", "d.items" if False else "d.a"))(d)
    def ws(self): return self.c("","","","","","-","-","+"), self.c("","","","","","-","-","+")
    def tag(self,t):
        a,b=self.ws(); return "{%"+a+" "+t+" "+b+"%}"
    def out(self): return "{{"+self.c("","","","-","+")+" "+self.c(self.any,self.str,self.str,self.int,self.float,self.bool,self.lis,self.dic)(0)+" "+self.c("","","","-")+"}}"
    def text(self): return "".join(self.c(*TEXTS) for _ in range(self.r.randint(0,3)))
    def stmts(self,d=0):
        return "".join(self.text()+self.stmt(d) for _ in range(self.r.randint(1,4 if d==0 else 2)))+self.text()
    def stmt(self,d):
        k=self.r.random(); T=self.tag
        if d>3 or k<.4: return self.out()
        if k<.55:
            s=T("if "+self.c(self.bool,self.bool,self.any)(0))+self.stmts(d+1)
            if self.p(.3): s+=T("elif "+self.bool(0))+self.stmts(d+1)
            if self.p(.5): s+=T("else")+self.stmts(d+1)
            return s+T("endif")
        if k<.75:
            save=(list(self.ints),list(self.strs),list(self.ld),self.inloop,list(self.d))
            kind=self.r.randint(0,4)
            if kind==0: it,t=self.lint(1),"i"; self.ints+=["i"]*4
            elif kind==1: it,t=self.lstr(1),"w"; self.strs+=["w"]*4
            elif kind==2: it,t=self.c("m","parts","ld"),"q"; self.d+=["q"]*3
            elif kind==3: it,t=self.c(f"({self.dic(1)}).items()",f"({self.dic(1)})|items","d|dictsort" if False else "{'b':1,'a':2}|dictsort","[[1,'p'],[2,'q']]"),self.c("k, v","k,v","(k, v)"); 
            else: it,t=self.str(1)+self.c("","[:4]"),"w"; it="("+it+")" if not it.endswith("[:4]") else "("+it[:-4]+")[:4]"; self.strs+=["w"]*4
            self.inloop=1
            cond=self.c("","","",f" if {self.c('i is odd','w','q.role is defined','k','i > 1','w != ¨a¨')}" if kind<4 else "")
            if cond and {0:"i",1:"w",2:"q",3:"k"}[kind] not in cond: cond=""
            s=T(f"for {t} in {it}{cond}")+self.stmts(d+1)
            if self.p(.3): s+=self.c("{{ loop.index }}","{{ loop.previtem }}","{{ loop.nextitem }}","{{ loop.cycle('a','b') }}","{{ loop.changed(1) }}","{{ loop.revindex0 }}","{% if loop.index > 1 %}{% break %}{% endif %}","{% if loop.first %}{% continue %}{% endif %}x","{{ ', ' if not loop.last }}")
            self.ints,self.strs,self.ld,self.inloop,self.d=save
            if self.p(.25): s+=T("else")+self.stmts(d+1)
            return s+T("endfor")
        if k<.9:
            j=self.r.random()
            if j<.3: s=T("set i1 = "+self.int(0)); self.ints.append("i1|default(1)"); return s
            if j<.6: s=T("set s1 = "+self.str(0)); self.strs.append("s1|default('u')"); return s
            if j<.75: s=T("set s2"+self.c(""," | upper"," | trim | title"))+self.stmts(d+1)+T("endset"); self.strs.append("s2|default('u')"); return s
            if j<.85: return T("set p, q2 = "+self.any(1)+", "+self.any(1))+"{{ p }}{{ q2 }}"
            return T("set ns = namespace(i=0, s='')")+T("for i in "+self.lint(1))+T("set ns.i = ns.i + i")+T("set ns.s = ns.s ~ "+self.str(1))+T("endfor")+"{{ ns.i }}{{ ns.s }}{{ ns }}"
        if k<.95:
            nm=self.c("mac","mak"); save=list(self.strs); self.strs+=["a","a"]
            body=self.stmts(d+1); self.strs=save
            self.macros.append(nm) if d==0 else None
            return T(f"macro {nm}(a, bb={self.any(2)})")+body+"{{ bb }}"+T("endmacro")+"{{ "+nm+f"({self.str(1)}{self.c('',', 1',', bb=2')})"+" }}"
        if k<.97: return T("with a1 = "+self.any(1))+"{{ a1 }}"+self.stmts(d+1)+T("endwith")
        if k<.98: return T("filter "+self.c("upper","trim","replace('a','b')","indent(3)","title","e"))+self.stmts(d+1)+T("endfilter")
        return self.c("{#- c #}\n","  {# c #}\n  ","{%- generation %}g{% endgeneration -%}","{% raw %}{{ {% {% endraw %}\n")
def template(seed):
    g=G(random.Random(seed))
    if g.p(.4): return ("{{ "+g.c(g.any,g.str,g.str,g.float,g.int,g.bool,g.lis,g.dic)(0)+" }}").replace("¨",'"')
    return g.stmts().replace("¨",'"')
