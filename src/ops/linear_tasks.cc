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
// Multiply-adds per piece: 20 us of compute, or of reading weights when there are few rows.
constexpr int64_t kPieceWork = 200'000;

Cut cut(const LinearTask& task, int threads) {
  const int64_t k = std::max<int64_t>(task.args.segments * task.args.segment_length, 1);
  // Rows are cut when there are many, so that a piece of x stays in the second-level cache, and
  // when there are too few columns to go round.
  const bool few_columns = task.columns < kColumnUnit * threads * 2;
  const int64_t row_step = few_columns ? kRowUnit : std::max<int64_t>(task.rows, 1);
  const int64_t rows = std::min(row_step, task.rows);
  int64_t columns = kPieceWork / std::max<int64_t>(rows * k, 1) / kColumnUnit * kColumnUnit;
  columns = std::max(columns, kColumnUnit);
  const int64_t row_pieces = (task.rows + row_step - 1) / row_step;
  const int64_t column_pieces = (task.columns + columns - 1) / columns;
  return {row_step, columns, row_pieces, row_pieces * column_pieces};
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
  if (threads == 1 || work < kPieceWork) {
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
