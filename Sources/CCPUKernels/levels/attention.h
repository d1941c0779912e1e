// softmax(scale q k^T) v over blocks of DEPTH keys.
//
// Rows are (query, head) pairs of one sequence and key-value head, so that heads which share keys share the packed keys too. Blocks begin at
// multiples of DEPTH from the first key of the sequence. Every block has a maximum m, a sum l and an unnormalised o of its own:
//   p = 2^(s - m), l = sum p, o = p v, with s = scale log2(e) q k^T,
// and blocks join in order: m' = max(m, m_b), l' = l 2^(m - m') + l_b 2^(m_b - m'), o alike. So a row's result depends neither on the rows
// beside it nor on who computed which block. Scores and sums go through the register tile of tile.h.

typedef struct {
    float *panels;   // [DEPTH][PANEL], keys or values
    float *sums;     // [TILE_ROWS][PANEL]
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

// scores[r][j - block begin] for the keys of span, by whole panels: columns before and after span hold other numbers.
INLINE void score_block(const attention_view *view, const attention_scratch *s, key_span span, size_t base, bool first) {
    const apus_attention_problem *p = view->problem;
    const size_t D = p->head_dimension, tiles = tile_count(view->rows);
    for (size_t d = 0; d < D; d += DEPTH) {
        const size_t depth = D - d < DEPTH ? D - d : DEPTH;
        if (first || D > DEPTH) pack_queries(view, s, d, depth);
        for (size_t j = base + (span.begin - base) / PANEL * PANEL; j < span.end; j += PANEL) {
            const size_t end = j + PANEL < span.end ? j + PANEL : span.end;
            pack_columns_f32(view->k + j * p->key_stride + d, p->key_stride, end - j, depth, s->panels);
            if (view->rows <= TILE_ROWS) {
                for (size_t next = end; next < end + PANEL && next < span.end; next++) {
                    const char *line = (const char *)(view->k + next * p->key_stride + d);
                    for (size_t offset = 0; offset < depth * sizeof(float); offset += 64) __builtin_prefetch(line + offset, 0, 2);
                }
            }
            for (size_t i = 0; i < tiles; i++) {
                const size_t r = view->rows * i / tiles, rows = view->rows * (i + 1) / tiles - r;
                tile_row(
                    rows, 1, depth, s->q + r * TILE_STRIDE, s->panels, PANEL, 0, s->scores + r * TILE_STRIDE + (j - base), 0, TILE_STRIDE,
                    d > 0 ? TILE_ADD : 0
                );
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
        const vector p = exponential_of_two(load(scores + j) - m);
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
    weights.old = exponential_of_two((vector)(*maximum - m))[0];
    weights.new = exponential_of_two((vector)(block_maximum - m))[0];
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

// o_b = p v for the keys of span, handed to the rows' destinations.
INLINE void weigh_values(const attention_view *view, const attention_scratch *s, key_span span, size_t base, const destination *to, bool one_by_one) {
    const apus_attention_problem *p = view->problem;
    const size_t D = p->head_dimension;
    const size_t tiles = one_by_one ? view->rows : tile_count(view->rows);
    for (size_t d = 0; d < D; d += PANEL) {
        const size_t columns = D - d < PANEL ? D - d : PANEL;
        const float *values = view->v + span.begin * p->key_stride + d;
        size_t stride = p->key_stride;
        if (tiles > 1 || columns < PANEL) {
            for (size_t j = 0; j < span.end - span.begin; j++) {
                float *row = s->panels + j * PANEL;
                if (columns == PANEL) {
#pragma unroll
                    for (size_t i = 0; i < PANEL; i += LANES) store(row + i, load(values + j * stride + i));
                } else {
                    memset(row, 0, PANEL * sizeof(float));
                    memcpy(row, values + j * stride, columns * sizeof(float));
                }
            }
            values = s->panels;
            stride = PANEL;
        }
        for (size_t i = 0; i < tiles; i++) {
            const size_t r = view->rows * i / tiles, rows = view->rows * (i + 1) / tiles - r;
            key_span keys = span;
            if (one_by_one) {
                keys = within(seen_by(view, (view->r0 + r) / view->group), span.begin, span.end);
                if (keys.begin == keys.end) continue;
            }
            tile_row(
                rows, 1, keys.end - keys.begin, s->scores + r * TILE_STRIDE + (keys.begin - base), values + (keys.begin - span.begin) * stride,
                stride, 0, s->sums, 0, PANEL, 0
            );
            for (size_t m = 0; m < rows; m++) deliver(&to[r + m], d, s->sums + m * PANEL, columns);
        }
    }
}

// Scores and exponentials of one block; returns whether some row sees only a part of the span.
INLINE bool exponentiate_block(const attention_view *view, const attention_scratch *s, key_span span, size_t base) {
    bool partial = false;
    for (size_t r = 0; r < view->rows; r++) {
        const key_span seen = within(seen_by(view, (view->r0 + r) / view->group), span.begin, span.end);
        partial |= seen.begin != span.begin || seen.end != span.end;
        exponentiate_row(s->scores + r * TILE_STRIDE, span, seen, base, &s->block_maximum[r], &s->block_sum[r]);
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
    for (size_t r = 0; r < view.rows; r++) {
        float *out = to[r].out;
        const float share = s.sum[r] == 0 ? 0 : 1 / s.sum[r];
        for (size_t d = 0; d < p->head_dimension; d++) out[d] = s.sum[r] == 0 ? 0 : out[d] * share;
    }
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
    const float share = sum == 0 ? 0 : 1 / sum;
    for (size_t d = 0; d < D; d++) out[d] = sum == 0 ? 0 : out[d] * share;
}
