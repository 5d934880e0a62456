// WeightLoader: hands a network its tensors by name, from a checkpoint or random ones.
//
// A network asks for every tensor with the shape its config implies; errors are kept, so that
// building code needs no checks, and finish() reports the first one. Tensors that are already in
// the wanted dtype stay mapped; others are converted in parallel by finish().
// Thread: one thread uses a loader. Invariants: contents of deferred tensors are valid after
// finish() returned OK. Ownership: tensors own or share their memory; the loader may go.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/checkpoint.h"

namespace tutti {

struct LoadStats {
  size_t tensors = 0;
  size_t bytes = 0;            // of the tensors as they are in memory now
  size_t converted_bytes = 0;  // of these, not mapped but converted or drawn
  double seconds = 0;
  double gb_per_s() const { return seconds > 0 ? static_cast<double>(bytes) / seconds / 1e9 : 0; }
};

struct WeightLoaderOptions {
  // F32 or BF16: dtype of matrices (rank >= 2). Vectors (norms, biases) are small and keep the
  // checkpoint's precision. None: everything keeps it (F16 becomes BF16).
  std::optional<DType> dtype = {};
  // Names of this network; finish() reports those that were not asked for as unexpected.
  std::vector<std::string> prefixes = {};
  // Exceptions from that: tensors under a prefix that belong to a part that is not loaded.
  std::vector<std::string> ignored_prefixes = {};
  std::function<void(double fraction)> on_progress = {};
  int num_threads = 0;  // 0: all cores
  // Stops finish() early; it returns kAborted then.
  std::stop_token cancel = {};
};

// Memory that this machine can still give (Linux's MemAvailable); SIZE_MAX when not known.
size_t available_host_bytes();

class WeightLoader {
 public:
  virtual ~WeightLoader() = default;

  // The tensor in its final dtype; contents are valid after finish(). Undefined after an error.
  Tensor get(const std::string& name, const Shape& shape);
  // An F32 copy that is valid at once, for what is transformed at load.
  Tensor get_f32(const std::string& name, const Shape& shape);
  // Brings a matrix made from get_f32() into the dtype that get() would have given `name`.
  Tensor finalize(const std::string& name, const Tensor& f32) const;
  virtual bool has(const std::string& name) const = 0;
  // The dtype of matrices: as asked for, or as the checkpoint has `name`.
  virtual DType matrix_dtype(const std::string& name) const = 0;

  // Converts and reads ahead what get() has deferred, with progress, and reports the first error.
  virtual Status finish() = 0;
  const Status& status() const { return status_; }
  const LoadStats& stats() const { return stats_; }

 protected:
  virtual Tensor do_get(const std::string& name, const Shape& shape, bool now_as_f32) = 0;
  void fail(Status status);
  // Counts a tensor and, when it is not mapped, the memory that it takes. False, and an error, when
  // that is more than the machine has left: better than being killed while filling it.
  bool account(size_t bytes, bool mapped);

  Status status_;
  LoadStats stats_;

 private:
  size_t available_bytes_ = available_host_bytes();
};

// Reads from `checkpoint`, which the loader shares.
std::unique_ptr<WeightLoader> make_checkpoint_loader(std::shared_ptr<const Checkpoint> checkpoint,
                                                     WeightLoaderOptions options);

// Draws random tensors from names and shapes alone: norms about 1, biases about 0, matrices of
// [N, K] with variance 1/K. The same seed gives the same tensors. Matrices are BF16 unless
// options.dtype says otherwise.
std::unique_ptr<WeightLoader> make_dummy_loader(uint64_t seed, WeightLoaderOptions options);

}  // namespace tutti
