// softmax(scale q k^T) v over blocks of DEPTH keys.
//
// Rows are (query, head) pairs of one sequence and key-value head, so that heads which share keys share the packed keys too. Blocks begin at
// multiples of DEPTH from the first key of the sequence. Every block has a maximum m, a sum l and an unnormalised o of its own:
//   p = 2^(s - m), l = sum p, o = p v, with s = scale log2(e) q k^T,
// and blocks join in order: m' = max(m, m_b), l' = l 2^(m - m') + l_b 2^(m_b - m'), o alike. So a row's result depends neither on the rows
// beside it nor on who computed which block. Scores and sums go through the register tile of tile.h.

typedef struct {
    float *panels;   // [DEPTH][PANEL], keys or values
    float *sums;     // [TILE_ROWS][PANEL] or [WIDE_ROWS][2 * PANEL]
    float *q;        // [ATTENTION_ROWS][TILE_STRIDE], scaled
    float *scores;   // [ATTENTION_ROWS][TILE_STRIDE]
    float *maximum;  // [ATTENTION_ROWS], of all blocks so far
    float *sum;
    float *block_maximum;  // [ATTENTION_ROWS], of the last block
    float *block_sum;
} attention_scratch;

INLINE attention_scratch carve_attention(float *memory) {
    attention_scratch s;
    s.panels = memory;
    s.sums = s.panels + SCRATCH_PANELS + SCRATCH_X;
    s.q = memory + SCRATCH_PANELS + SCRATCH_X + SCRATCH_TILE + SCRATCH_GATES;
    s.scores = s.q + ATTENTION_ROWS * TILE_STRIDE;
    s.maximum = s.scores + ATTENTION_ROWS * TILE_STRIDE;
    s.sum = s.maximum + ATTENTION_ROWS;
    s.block_maximum = s.sum + ATTENTION_ROWS;
    s.block_sum = s.block_maximum + ATTENTION_ROWS;
    return s;
}

// What of a sequence one part needs.
typedef struct {
    const apus_attention_problem *problem;
    const float *q;    // [rows of the part] through row_offset
    const float *k;    // first key of the sequence, this head
    const float *v;
    size_t group;      // query heads of a key-value head
    size_t kv_head, first_query;
    size_t keys, queries;
    size_t r0, rows;
} attention_view;

INLINE attention_view view_of(const attention_part *part) {
    const apus_attention_problem *p = part->problem;
    attention_view view;
    view.problem = p;
    view.group = p->query_heads / p->key_value_heads;
    view.kv_head = part->kv_head;
    view.first_query = p->query_offsets[part->sequence];
    view.queries = p->query_offsets[part->sequence + 1] - view.first_query;
    const size_t first_key = p->key_offsets[part->sequence];
    view.keys = p->key_offsets[part->sequence + 1] - first_key;
    view.q = p->q;
    view.k = p->k + first_key * p->key_stride + part->kv_head * p->key_head_stride;
    view.v = p->v + first_key * p->key_stride + part->kv_head * p->key_head_stride;
    view.r0 = part->r0;
    view.rows = part->r1 - part->r0;
    return view;
}

// Token and head of row r of a view.
INLINE size_t token_of(const attention_view *view, size_t r) { return view->first_query + (view->r0 + r) / view->group; }
INLINE size_t head_of(const attention_view *view, size_t r) { return view->kv_head * view->group + (view->r0 + r) % view->group; }

typedef struct {
    size_t begin, end;
} key_span;

// The keys that query i of the sequence sees.
INLINE key_span seen_by(const attention_view *view, size_t i) {
    const apus_attention_problem *p = view->problem;
    // Queries are the last of the keys; more queries than keys is a caller's error that must not read wild memory.
    if (i + view->keys < view->queries) return (key_span){0, 0};
    const size_t position = view->keys - view->queries + i;
    key_span span = {0, p->bidirectional ? view->keys : position + 1};
    if (p->window > 0) {
        if (position + 1 > p->window) span.begin = position + 1 - p->window;
        if (p->bidirectional && p->window < view->keys - position) span.end = position + p->window;
    }
    return span;
}

INLINE key_span within(key_span span, size_t begin, size_t end) {
    if (span.begin < begin) span.begin = begin;
    if (span.end > end) span.end = end;
    if (span.end < span.begin) span.end = span.begin;
    return span;
}

// All keys that any row of the view sees.
INLINE key_span seen_by_all(const attention_view *view) {
    const key_span first = seen_by(view, view->r0 / view->group);
    const key_span last = seen_by(view, (view->r0 + view->rows - 1) / view->group);
    return (key_span){first.begin, last.end};
}

INLINE void pack_queries(const attention_view *view, const attention_scratch *s, size_t d, size_t depth) {
    const apus_attention_problem *p = view->problem;
    const float scale = p->scale * 1.44269504f;
    for (size_t r = 0; r < view->rows; r++) {
        const float *q = p->q + token_of(view, r) * p->query_stride + head_of(view, r) * p->head_dimension + d;
        float *out = s->q + r * TILE_STRIDE;
        size_t i = 0;
        for (; i + LANES <= depth; i += LANES) store(out + i, load(q + i) * scale);
        for (; i < depth; i++) out[i] = q[i] * scale;
    }
}

INLINE size_t tile_count(size_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }

// All keys of span that rows [r, r + rows) see. What else there is in span weighs nothing, so leaving it out changes no bit.
INLINE key_span seen_by_tile(const attention_view *view, key_span span, size_t r, size_t rows) {
    const key_span first = seen_by(view, (view->r0 + r) / view->group), last = seen_by(view, (view->r0 + r + rows - 1) / view->group);
    return within((key_span){first.begin, last.end}, span.begin, span.end);
}

// Scores of few rows by strips of keys, as far as whole strips go; returns the first key left. While keys pass, those of the next strip are
// asked for, and the values that this strip's keys weigh.
INLINE size_t score_strips(const attention_view *view, const attention_scratch *s, key_span span, size_t base, size_t d, size_t depth) {
    const apus_attention_problem *p = view->problem;
    const size_t row_bytes = p->key_stride * sizeof(float);
    size_t j = base + (span.begin - base) / STRIP * STRIP;
    for (; j + STRIP <= span.end; j += STRIP) {
        const char *keys = (const char *)(view->k + j * p->key_stride + d);
        const strip_place at = {
            .w = keys,
            .row_bytes = row_bytes,
            .x = s->q,
            .x_stride = TILE_STRIDE,
            .next = (uintptr_t)keys + STRIP * row_bytes,
            .line_step = row_bytes,
            .block_step = 64,
            .limit = UINTPTR_MAX,
            .between = (uintptr_t)view->v - (uintptr_t)view->k - STRIP * row_bytes,
        };
        strip_functions[view->rows - 1](APUS_F32, depth, &at, s->scores + (j - base), TILE_STRIDE, d > 0);
    }
    return j;
}

// scores[r][j - base] for the keys of span, by whole panels: columns before and after span hold other numbers.
INLINE void score_block(const attention_view *view, const attention_scratch *s, key_span span, size_t base, bool first) {
    const apus_attention_problem *p = view->problem;
    const size_t D = p->head_dimension, tiles = tile_count(view->rows);
    for (size_t d = 0; d < D; d += DEPTH) {
        const size_t depth = D - d < DEPTH ? D - d : DEPTH;
        if (first || D > DEPTH) pack_queries(view, s, d, depth);
        size_t j = base + (span.begin - base) / PANEL * PANEL;
        if (view->rows <= STRIP_ROWS) j = score_strips(view, s, span, base, d, depth);
        for (; j < span.end; j += PANEL) {
            const size_t end = j + PANEL < span.end ? j + PANEL : span.end;
            pack_columns_f32(view->k + j * p->key_stride + d, p->key_stride, end - j, depth, s->panels);
            for (size_t i = 0; i < tiles; i++) {
                const size_t r = view->rows * i / tiles, rows = view->rows * (i + 1) / tiles - r;
                const key_span seen = seen_by_tile(view, span, r, rows);
                if (seen.end <= j || end <= seen.begin) continue;
                for (size_t k = 0; k < depth; k += SUM_DEPTH) {
                    tile_row(
                        rows, 1, depth - k < SUM_DEPTH ? depth - k : SUM_DEPTH, s->q + r * TILE_STRIDE + k, s->panels + k * PANEL, PANEL, 0,
                        s->scores + r * TILE_STRIDE + (j - base), 0, TILE_STRIDE, d + k > 0 ? TILE_ADD : 0
                    );
                }
            }
        }
    }
}

// Turns one row of scores into p over the keys of span, zero where this row does not see them.
INLINE void exponentiate_row(float *scores, key_span span, key_span seen, size_t base, float *maximum, float *sum) {
    const size_t begin = (span.begin - base) / LANES * LANES, end = span.end - base;
    if (seen.begin == seen.end) {
        for (size_t j = begin; j < end; j += LANES) store(scores + j, (vector)0);
        *maximum = -INFINITY;
        *sum = 0;
        return;
    }
    integers column;
    for (int32_t i = 0; i < LANES; i++) column[i] = i;
    const integers from = (integers)(int32_t)(seen.begin - base), to = (integers)(int32_t)(seen.end - base);
    vector best = -INFINITY;
    for (size_t j = begin; j < end; j += LANES) {
        const integers at = column + (int32_t)j;
        const vector s = choose((at >= from) & (at < to), load(scores + j), (vector)-INFINITY);
        best = greater(best, s);
        store(scores + j, s);
    }
    const float m = maximum_lane(best);
    vector total = 0;
    for (size_t j = begin; j < end; j += LANES) {
        const vector p = weight(load(scores + j) - m);
        total += p;
        store(scores + j, p);
    }
    *maximum = m;
    *sum = sum_lanes(total);
}

// Zero times a value that is not a number is not zero, so where such values hide behind a mask, rows have to go one by one.
INLINE bool all_finite(const attention_view *view, key_span span) {
    const apus_attention_problem *p = view->problem;
    const size_t D = p->head_dimension;
    vector zero = 0;
    float rest = 0;
    for (size_t j = span.begin; j < span.end; j++) {
        const float *v = view->v + j * p->key_stride;
        size_t d = 0;
        for (; d + LANES <= D; d += LANES) zero += load(v + d) * 0.0f;
        for (; d < D; d++) rest += v[d] * 0.0f;
    }
    return sum_lanes(zero) + rest == 0;
}

// How a block's o joins what was there: o * old + o_b * new.
typedef struct {
    float old, new;
} joint;

INLINE joint join(float *maximum, float *sum, float block_maximum, float block_sum) {
    const float m = *maximum > block_maximum ? *maximum : block_maximum;
    joint weights;
    weights.old = weight((vector)(*maximum - m))[0];
    weights.new = weight((vector)(block_maximum - m))[0];
    *sum = multiply_add((vector)*sum, (vector)weights.old, (vector)(block_sum * weights.new))[0];
    *maximum = m;
    return weights;
}

INLINE void join_outputs(float *out, const float *block, size_t count, joint weights) {
    const vector old = weights.old, new = weights.new;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out + i, multiply_add(load(out + i), old, load(block + i) * new));
    if (i < count) {
        const size_t left = count - i;
        store_some(out + i, multiply_add(load_some(out + i, left), old, load_some(block + i, left) * new), left);
    }
}

// out / sum; zeros where nothing was seen.
INLINE void finish_output(float *out, size_t count, float sum) {
    const float share = 1 / sum;
    size_t i = 0;
    if (sum == 0) {
        memset(out, 0, count * sizeof(float));
        return;
    }
    for (; i + LANES <= count; i += LANES) store(out + i, load(out + i) * share);
    for (; i < count; i++) out[i] *= share;
}

typedef struct {
    float *out;
    joint weights;
    bool set;   // the row's first block: overwrites
    bool skip;  // the row sees nothing of this block
} destination;

INLINE void deliver(const destination *to, size_t d, const float *sums, size_t count) {
    if (to->skip) return;
    if (to->set) {
        memcpy(to->out + d, sums, count * sizeof(float));
    } else {
        join_outputs(to->out + d, sums, count, to->weights);
    }
}

// values[keys of span][PANEL] from column d on, side by side; columns past D become zeros.
INLINE void pack_values(const attention_view *view, key_span span, size_t d, size_t columns, float *panel) {
    const size_t stride = view->problem->key_stride;
    const float *values = view->v + span.begin * stride + d;
    for (size_t j = 0; j < span.end - span.begin; j++, values += stride, panel += PANEL) {
        if (columns == PANEL) {
#pragma unroll
            for (size_t i = 0; i < PANEL; i += LANES) store(panel + i, load(values + i));
        } else {
            memset(panel, 0, PANEL * sizeof(float));
            memcpy(panel, values, columns * sizeof(float));
        }
    }
}

// o_b = p v for the keys of span, handed to the rows' destinations. Values are packed when several tiles read them.
INLINE void weigh_values(const attention_view *view, const attention_scratch *s, key_span span, size_t base, const destination *to, bool one_by_one) {
    const apus_attention_problem *p = view->problem;
    const size_t D = p->head_dimension;
    const size_t tiles = one_by_one ? view->rows : tile_count(view->rows);
    for (size_t d = 0; d < D;) {
        const bool packs = tiles > 1 || D - d < PANEL;
        // Rows that a wide tile takes read two panels of values at once.
        const size_t panels = !packs && view->rows <= WIDE_ROWS && D - d >= 2 * PANEL ? 2 : 1;
        const size_t columns = D - d < PANEL ? D - d : panels * PANEL;
        if (packs) pack_values(view, span, d, columns, s->panels);
        const float *values = packs ? s->panels : view->v + span.begin * p->key_stride + d;
        const size_t stride = packs ? PANEL : p->key_stride;
        for (size_t i = 0; i < tiles; i++) {
            const size_t r = view->rows * i / tiles, rows = view->rows * (i + 1) / tiles - r;
            const key_span keys = seen_by_tile(view, span, r, rows);
            if (keys.begin == keys.end) continue;
            tile_row(
                rows, panels, keys.end - keys.begin, s->scores + r * TILE_STRIDE + (keys.begin - base),
                values + (keys.begin - span.begin) * stride, stride, PANEL, s->sums, PANEL, panels * PANEL, 0
            );
            for (size_t m = 0; m < rows; m++) deliver(&to[r + m], d, s->sums + m * panels * PANEL, columns);
        }
        d += columns;
    }
}

// Weights of one block; returns whether some row sees only a part of what its tile sees.
INLINE bool exponentiate_block(const attention_view *view, const attention_scratch *s, key_span span, size_t base) {
    const size_t tiles = tile_count(view->rows);
    bool partial = false;
    for (size_t i = 0; i < tiles; i++) {
        const size_t begin = view->rows * i / tiles, end = view->rows * (i + 1) / tiles;
        const key_span tile = seen_by_tile(view, span, begin, end - begin);
        for (size_t r = begin; r < end; r++) {
            const key_span seen = seen_by_tile(view, span, r, 1);
            partial |= seen.begin != tile.begin || seen.end != tile.end;
            exponentiate_row(s->scores + r * TILE_STRIDE, tile, seen, base, &s->block_maximum[r], &s->block_sum[r]);
        }
    }
    return partial;
}

static void attention(const attention_part *part, float *memory) {
    const attention_view view = view_of(part);
    const attention_scratch s = carve_attention(memory);
    const apus_attention_problem *p = view.problem;
    const key_span all = seen_by_all(&view);
    destination to[ATTENTION_ROWS];
    for (size_t r = 0; r < view.rows; r++) {
        to[r] = (destination){p->out + token_of(&view, r) * p->out_stride + head_of(&view, r) * p->head_dimension, {0, 0}, true, true};
        s.maximum[r] = -INFINITY;
        s.sum[r] = 0;
    }
    bool first = true;
    for (size_t base = all.begin / DEPTH * DEPTH; base < all.end; base += DEPTH) {
        const key_span span = within(all, base, base + DEPTH);
        score_block(&view, &s, span, base, first);
        const bool partial = exponentiate_block(&view, &s, span, base);
        for (size_t r = 0; r < view.rows; r++) {
            to[r].skip = s.block_sum[r] == 0;
            if (to[r].skip) continue;
            to[r].set = s.sum[r] == 0;
            if (to[r].set) {
                s.maximum[r] = s.block_maximum[r];
                s.sum[r] = s.block_sum[r];
            } else {
                to[r].weights = join(&s.maximum[r], &s.sum[r], s.block_maximum[r], s.block_sum[r]);
            }
        }
        weigh_values(&view, &s, span, base, to, partial && !all_finite(&view, span));
        first = false;
    }
    for (size_t r = 0; r < view.rows; r++) finish_output(to[r].out, p->head_dimension, s.sum[r]);
}

// Where the partial of a row (token t, head h) and block begins.
INLINE float *partial_of(const attention_partials *partials, const apus_attention_problem *p, size_t t, size_t h, size_t block) {
    return partials->values + (((t - p->query_offsets[0]) * p->query_heads + h) * partials->blocks + block) * (p->head_dimension + 2);
}

static void attention_block(const attention_part *part, size_t block, const attention_partials *partials, float *memory) {
    const attention_view view = view_of(part);
    const attention_scratch s = carve_attention(memory);
    const apus_attention_problem *p = view.problem;
    const size_t base = block * DEPTH;
    const key_span span = within(seen_by_all(&view), base, base + DEPTH);
    destination to[ATTENTION_ROWS];
    bool partial = false;
    const bool any = span.begin < span.end;
    if (any) {
        score_block(&view, &s, span, base, true);
        partial = exponentiate_block(&view, &s, span, base);
    }
    for (size_t r = 0; r < view.rows; r++) {
        float *values = partial_of(partials, p, token_of(&view, r), head_of(&view, r), block);
        values[p->head_dimension] = any ? s.block_maximum[r] : -INFINITY;
        values[p->head_dimension + 1] = any ? s.block_sum[r] : 0;
        to[r] = (destination){values, {0, 0}, true, !any || s.block_sum[r] == 0};
    }
    if (any) weigh_values(&view, &s, span, base, to, partial && !all_finite(&view, span));
}

static void attention_join(const apus_attention_problem *p, size_t row, const attention_partials *partials) {
    const size_t t = p->query_offsets[0] + row / p->query_heads, h = row % p->query_heads, D = p->head_dimension;
    float *out = p->out + t * p->out_stride + h * D;
    float maximum = -INFINITY, sum = 0;
    for (size_t block = 0; block < partials->blocks; block++) {
        const float *values = partial_of(partials, p, t, h, block);
        if (values[D + 1] == 0) continue;
        if (sum == 0) {
            memcpy(out, values, D * sizeof(float));
            maximum = values[D];
            sum = values[D + 1];
        } else {
            join_outputs(out, values, D, join(&maximum, &sum, values[D], values[D + 1]));
        }
    }
    finish_output(out, D, sum);
}
