#include "ops/linear_tasks.h"

#include "ops/parallel.h"

namespace tutti::ops {

namespace {

// A task is cut into pieces of rows x columns. Pieces are whole multiples of every tile's size, so
// that only the last has ragged tiles.
struct Cut {
  int64_t row_step;
  int64_t column_step;
  int64_t row_pieces;
  int64_t pieces;
};

constexpr int64_t kRowUnit = 6 * 32;
constexpr int64_t kColumnUnit = 24;
// With few rows reading the weights is the work: pieces are short, so that threads end together,
// yet long against the start of a stream.
constexpr int64_t kFewRows = 16;
constexpr int64_t kPieceBytes = 160 * 1024;
// With many rows a piece of weights stays in the second-level cache while the rows pass.
constexpr int64_t kMostColumns = 4 * kColumnUnit;
// Below this many multiply-adds (about 10 us of reading) a second thread does not pay.
constexpr int64_t kSmallestWork = 100'000;

int64_t whole_units(int64_t columns, int64_t most) {
  return std::clamp(columns / kColumnUnit * kColumnUnit, kColumnUnit, most);
}

Cut cut(const LinearTask& task, int threads) {
  const int64_t k = std::max<int64_t>(task.args.segments * task.args.segment_length, 1);
  const int64_t wanted_pieces = 8 * threads;
  Cut c{};
  if (task.rows <= kFewRows) {
    const int64_t row_bytes = k * (task.args.w_is_bf16 ? 2 : 4);
    c.row_step = std::max<int64_t>(task.rows, 1);
    c.column_step = whole_units(kPieceBytes / row_bytes, task.columns + kColumnUnit);
  } else {
    c.column_step = whole_units(task.columns / wanted_pieces, kMostColumns);
    // Rows are cut where columns alone do not go round.
    const bool few_columns = task.columns < c.column_step * wanted_pieces / 2;
    c.row_step = few_columns ? kRowUnit : task.rows;
  }
  c.row_pieces = (task.rows + c.row_step - 1) / c.row_step;
  c.pieces = c.row_pieces * ((task.columns + c.column_step - 1) / c.column_step);
  return c;
}

void run_piece(const LinearTask& task, const Cut& c, int64_t piece) {
  const int64_t m0 = piece % c.row_pieces * c.row_step;
  const int64_t n0 = piece / c.row_pieces * c.column_step;
  cpu::kernels().linear(task.args, m0, std::min(m0 + c.row_step, task.rows), n0,
                        std::min(n0 + c.column_step, task.columns));
}

}  // namespace

void run_linear_tasks(OpContext& ctx, std::span<const LinearTask> tasks) {
  int64_t work = 0;
  for (const LinearTask& task : tasks) {
    work += task.rows * task.columns * task.args.segments * task.args.segment_length;
  }
  const int threads = pool_threads(ctx);
  if (threads == 1 || work < kSmallestWork) {
    for (const LinearTask& task : tasks) {
      if (task.rows > 0) cpu::kernels().linear(task.args, 0, task.rows, 0, task.columns);
    }
    return;
  }
  int64_t pieces = 0;
  for (const LinearTask& task : tasks) pieces += cut(task, threads).pieces;
  ctx.pool->parallel_for(pieces, 1, [&](int64_t begin, int64_t end, int) {
    int64_t first = 0;  // number of the task's first piece
    for (const LinearTask& task : tasks) {
      const Cut c = cut(task, threads);
      for (int64_t p = std::max(begin, first); p < std::min(end, first + c.pieces); ++p) {
        run_piece(task, c, p - first);
      }
      first += c.pieces;
      if (first >= end) break;
    }
  });
}

}  // namespace tutti::ops
