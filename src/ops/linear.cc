#include "ops/linear.h"

#include "ops/elementwise.h"
#include "ops/linear_tasks.h"
#include "ops/lora_parts.h"
#include "ops/parallel.h"

namespace tutti::ops {

namespace {

cpu::LinearArgs linear_args(const Tensor& x, const Tensor& weight, const Tensor& bias,
                            const Tensor& out) {
  check_f32(x);
  check_f32(out);
  TUTTI_CHECK(weight.rank() == 2 && is_weight_dtype(weight.dtype()),
              "a linear weight is [N, K], F32 or BF16");
  TUTTI_CHECK(x.cols() == weight.dim(1), "x and weight must agree in K");
  TUTTI_CHECK(out.cols() == weight.dim(0) && out.rows() == x.rows(), "out must be [T, N]");
  cpu::LinearArgs a;
  a.x = x.data<float>();
  a.x_stride = x.row_stride();
  a.w = weight.raw_data();
  a.w_is_bf16 = weight.dtype() == DType::kBF16;
  a.w_stride = weight.row_stride();
  a.segment_length = weight.dim(1);
  a.bias = param(bias, weight.dim(0));
  a.out = out.data<float>();
  a.out_stride = out.row_stride();
  return a;
}

// The rows of `task` that go through an adapter in map number `map`.
void add_parts(const LoraRows& lora, const LinearTask& task, int32_t map, LoraParts& parts) {
  for (const LoraRun& run : lora.runs()) {
    TUTTI_CHECK(run.end <= task.rows, "the rows of adapters are rows of x");
    parts.add(*run.adapter, map, task.args.x + run.begin * task.args.x_stride, task.args.x_stride,
              task.args.out + run.begin * task.args.out_stride, task.args.out_stride,
              run.end - run.begin);
  }
}

// The tasks, and what adapters add to them; maps[i] is the number of tasks[i]'s map.
void run_with_lora(OpContext& ctx, std::span<const LinearTask> tasks,
                   std::span<const int32_t> maps) {
  Workspace::Scope scratch(ctx.workspace);
  LoraParts parts(ctx, static_cast<int64_t>(tasks.size() * ctx.lora->runs().size()));
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (maps[i] >= 0) add_parts(*ctx.lora, tasks[i], maps[i], parts);
  }
  {
    TaskList all(ctx);
    for (const LinearTask& task : tasks) all.add(task);
    parts.add_down(all);
  }
  parts.run_up();
}

}  // namespace

void linear(OpContext& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
            const Tensor& out, const LinearOptions& options) {
  check_cpu(ctx);
  cpu::LinearArgs a = linear_args(x, weight, bias, out);
  a.act = static_cast<cpu::Act>(options.activation);
  if (options.residual != nullptr) {
    check_f32(*options.residual);
    check_same(*options.residual, out);
    a.residual = options.residual->data<float>();
    a.residual_stride = options.residual->row_stride();
  }
  LinearTask task{a, x.rows(), weight.dim(0)};
  if (!may_adapt(ctx, options.lora_map)) {
    run_linear_tasks(ctx, {&task, 1});
    return;
  }
  const bool activates = options.activation != Activation::kNone;
  TUTTI_CHECK(!activates || options.residual == nullptr,
              "a map that adapters may change has an activation or a residual");
  task.args.act = cpu::Act::kNone;
  run_with_lora(ctx, {&task, 1}, {&options.lora_map, 1});
  if (activates) activate(ctx, options.activation, out, out);
}

void linear_many(OpContext& ctx, const Tensor& x, std::span<const Projection> projections) {
  check_cpu(ctx);
  constexpr size_t kMaxProjections = 8;
  TUTTI_CHECK(projections.size() <= kMaxProjections, "at most 8 projections at once");
  LinearTask tasks[kMaxProjections];
  int32_t maps[kMaxProjections];
  bool adapts = false;
  size_t n = 0;
  for (const Projection& p : projections) {
    adapts = adapts || may_adapt(ctx, p.lora_map);
    maps[n] = p.lora_map;
    tasks[n++] = {linear_args(x, p.weight, p.bias, p.out), x.rows(), p.weight.get().dim(0)};
  }
  if (adapts) {
    run_with_lora(ctx, {tasks, n}, {maps, n});
  } else {
    run_linear_tasks(ctx, {tasks, n});
  }
}

}  // namespace tutti::ops
