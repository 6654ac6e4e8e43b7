// Which tokens of a batch llama.cpp computes together, and in which order their rows stand.
#ifndef IVO_SPLIT_H
#define IVO_SPLIT_H

#include <algorithm>
#include <cstdint>
#include <vector>

// batch_split follows a llama_decode through its parts (micro-batches). A KV cache takes the tokens in their
// order. A state that each token changes takes equally many of each sequence, those of a sequence side
// by side, either of all sequences or of some that follow each other in number: llama.cpp has all three ways, and
// tells nobody which it went. The ids of the part's tokens, which the graph reads, do.
class batch_split {
  public:
    enum way { in_order, of_all, of_neighbours };

    std::vector<int32_t> rows; // the tokens of the part under way, as their rows stand

    void start(const int32_t * token, const int32_t * seq, int32_t n_tokens, int32_t n_most) {
        ids = token, seqs = seq, n = n_tokens, most = n_most;
        taken.assign(n, 0);
        rows.clear();
    }

    // next finds the part of the tokens with these ids; first is the way to look for before others.
    bool next(const int32_t * part, int32_t size, way first) {
        static const way ways[] = {in_order, of_all, of_neighbours};
        if (take(part, size, first)) {
            return true;
        }
        for (const way w : ways) {
            if (w != first && take(part, size, w)) {
                return true;
            }
        }
        rows.clear();
        return false;
    }

  private:
    const int32_t * ids = nullptr, * seqs = nullptr;
    int32_t n = 0, most = 0;
    std::vector<int8_t> taken;
    std::vector<int32_t> of;                    // the sequences of the part
    std::vector<std::vector<int32_t>> by_sequence; // their tokens

    bool take(const int32_t * part, int32_t size, way w) {
        if (w == in_order) {
            rows.clear();
            for (int32_t i = 0; i < n && int32_t(rows.size()) < size; i++) {
                if (!taken[i]) {
                    rows.push_back(i);
                }
            }
        } else if (!equally(size, w == of_neighbours)) {
            return false;
        }
        if (int32_t(rows.size()) != size) {
            return false;
        }
        for (int32_t r = 0; r < size; r++) {
            if (ids[rows[r]] != part[r]) {
                return false;
            }
        }
        for (const int32_t i : rows) {
            taken[i] = 1;
        }
        return true;
    }

    // equally sets the rows to as many tokens of each sequence as make size together (split_equal in llama-batch.cpp).
    bool equally(int32_t size, bool neighbours) {
        of.clear();
        for (int32_t i = 0; i < n && int32_t(of.size()) <= most; i++) {
            const bool fits = !neighbours || of.empty() || seqs[i] == of.back() + 1;
            if (!taken[i] && fits && std::find(of.begin(), of.end(), seqs[i]) == of.end()) {
                of.push_back(seqs[i]);
            }
        }
        if (of.empty() || size % int32_t(of.size()) != 0) {
            return false;
        }
        const size_t each = size / of.size();
        by_sequence.resize(std::max(by_sequence.size(), of.size()));
        for (size_t s = 0; s < of.size(); s++) {
            by_sequence[s].clear();
        }
        for (int32_t i = 0; i < n; i++) {
            const auto at = std::find(of.begin(), of.end(), seqs[i]);
            if (!taken[i] && at != of.end() && by_sequence[at - of.begin()].size() < each) {
                by_sequence[at - of.begin()].push_back(i);
            }
        }
        rows.clear();
        for (size_t s = 0; s < of.size(); s++) {
            rows.insert(rows.end(), by_sequence[s].begin(), by_sequence[s].end());
        }
        return true;
    }
};

#endif
