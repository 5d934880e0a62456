// What adapters add to the maps of one op, as further linear tasks: shared by linear and experts.
//
// Thread: the step's. Memory is the workspace's: use inside a Workspace::Scope.
#pragma once

#include "ops/linear_tasks.h"
#include "ops/lora.h"

namespace tutti::ops {

class LoraParts {
 public:
  // For at most `most` calls of add().
  LoraParts(OpContext& ctx, int64_t most);

  // `rows` rows of x and out, `x_stride` and `out_stride` elements apart, that go through map
  // number `map` of the adapter. Nothing when the adapter does not change it.
  void add(const LoraAdapter& adapter, int32_t map, const float* x, int64_t x_stride, float* out,
           int64_t out_stride, int64_t rows);
  // A x of all parts; independent of the maps themselves, so it may run beside them.
  void add_down(TaskList& tasks) const;
  // out += scale * B (A x). After both have run.
  void run_up();

 private:
  struct Part {
    const LoraMatrices* matrices;
    const float* x;
    int64_t x_stride;
    float* out;
    int64_t out_stride;
    int64_t rows;
    float* low;  // [rows, rank]
  };

  static void run_up_piece(const Part& part, int64_t begin, int64_t end);

  OpContext& ctx_;
  Part* parts_;
  int64_t most_;
  int64_t count_ = 0;
};

// Whether rows of the step may go through an adapter in this map.
inline bool may_adapt(const OpContext& ctx, int32_t map) { return ctx.lora != nullptr && map >= 0; }

}  // namespace tutti::ops
