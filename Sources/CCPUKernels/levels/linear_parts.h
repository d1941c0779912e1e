// What every form of a linear layer does beside its products.

INLINE void activate_gates(const float *gates, float *up, size_t columns, apus_activation activation) {
    size_t i = 0;
    for (; i + LANES <= columns; i += LANES) store(up + i, activate(load(gates + i), activation) * load(up + i));
    if (i < columns) {
        const size_t left = columns - i;
        store_some(up + i, activate(load_some(gates + i, left), activation) * load_some(up + i, left), left);
    }
}

INLINE void finish_row(float *y, const float *sums, size_t columns, bool add) {
    size_t i = 0;
    if (!add) {
        memcpy(y, sums, columns * sizeof(float));
        return;
    }
    for (; i + LANES <= columns; i += LANES) store(y + i, load(y + i) + load(sums + i));
    for (; i < columns; i++) y[i] += sums[i];
}

// Row t of x from product k on, where it is packed already: [K / DEPTH][T] rows of a tile.
INLINE const void *packed_block(const linear_job *job, size_t k, size_t t, size_t row_bytes) {
    return job->packed ? (const char *)job->packed + (k / DEPTH * job->T + t) * row_bytes : NULL;
}

// Asks for share i of `shares` of the weights that will be unpacked next, while tiles are multiplied: those of the next products or, at the
// end of a row, of the columns that follow.
INLINE void ask_next(const linear_job *job, const linear_part *part, const void *w, size_t k, size_t i, size_t shares) {
    const size_t bytes = element_bytes(job->w_type), columns = part->n1 - part->n0;
    size_t n = part->n0, end = part->n1;
    if (k == job->K) {
        k = 0;
        n = end;
        end = part->stream_end - n < columns ? part->stream_end : n + columns;
    }
    const size_t depth = job->K - k < DEPTH ? job->K - k : DEPTH;
    const size_t last = n + (end - n) * (i + 1) / shares;
    for (n += (end - n) * i / shares; n < last; n++) {
        const char *line = element(w, job->w_type, n * job->K + k);
        for (size_t offset = 0; offset < depth * bytes; offset += 64) __builtin_prefetch(line + offset, 0, 2);
    }
}
