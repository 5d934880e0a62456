#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "weights/convert.h"
#include "weights/parallel.h"
#include "weights/weight_loader.h"

namespace tutti {

namespace {

constexpr size_t kPieceBytes = size_t{4} << 20;  // of work between two progress reports
constexpr size_t kListedNames = 3;

// One contiguous piece of deferred work: a conversion, or reading mapped pages ahead.
struct Piece {
  const std::byte* from = nullptr;
  DType from_dtype = DType::kF32;
  std::byte* to = nullptr;  // null: read ahead only
  DType to_dtype = DType::kF32;
  size_t elements = 0;
};

void read_ahead(const std::byte* data, size_t bytes) {
  static const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  volatile unsigned sum = 0;
  for (size_t i = 0; i < bytes; i += page) sum = sum + static_cast<unsigned>(data[i]);
}

// Converted sources are not needed again: their pages need not count as resident memory.
void drop_pages(const std::byte* data, size_t bytes) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

bool starts_with_any(std::string_view name, const std::vector<std::string>& prefixes) {
  return std::ranges::any_of(prefixes, [&](const auto& p) { return name.starts_with(p); });
}

class CheckpointLoader final : public WeightLoader {
 public:
  CheckpointLoader(std::shared_ptr<const Checkpoint> checkpoint, WeightLoaderOptions options)
      : checkpoint_(std::move(checkpoint)),
        options_(std::move(options)),
        start_(std::chrono::steady_clock::now()) {}

  bool has(const std::string& name) const override { return checkpoint_->find(name) != nullptr; }

  DType matrix_dtype(const std::string& name) const override {
    if (options_.dtype) return *options_.dtype;
    const CheckpointTensor* found = checkpoint_->find(name);
    return found && found->entry->dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
  }

  Status finish() override;

 protected:
  Tensor do_get(const std::string& name, const Shape& shape, bool now_as_f32) override;

 private:
  DType target_dtype(const SafetensorsEntry& entry) const;
  void defer(const std::byte* from, DType from_dtype, const Tensor* to, size_t elements);
  Status check_unexpected() const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  WeightLoaderOptions options_;
  std::chrono::steady_clock::time_point start_;
  std::set<std::string, std::less<>> used_;
  std::vector<Tensor> converted_;  // kept alive until finish() has written them
  std::vector<Piece> pieces_;
};

DType CheckpointLoader::target_dtype(const SafetensorsEntry& entry) const {
  if (options_.dtype && entry.shape.rank() >= 2) return *options_.dtype;
  return entry.dtype == DType::kF32 || entry.dtype == DType::kF64 ? DType::kF32 : DType::kBF16;
}

Tensor CheckpointLoader::do_get(const std::string& name, const Shape& shape, bool now_as_f32) {
  const CheckpointTensor* found = checkpoint_->find(name);
  if (found == nullptr) {
    fail(invalid_argument("Tensor '" + name + "' of shape " + shape.to_string() +
                          " is missing from '" + checkpoint_->listing().string() + "'."));
    return Tensor();
  }
  const auto& [file, entry] = *found;
  const std::string where = "Tensor '" + name + "' in '" + file->path().string() + "' has ";
  if (!(entry->shape == shape)) {
    fail(invalid_argument(where + "shape " + entry->shape.to_string() + ", expected " +
                          shape.to_string() + "."));
    return Tensor();
  }
  if (!is_float_dtype(entry->dtype)) {
    fail(invalid_argument(where + "dtype " + std::string(dtype_name(entry->dtype)) +
                          ", expected F32, BF16, F16 or F64."));
    return Tensor();
  }
  used_.insert(name);
  const auto elements = static_cast<size_t>(shape.num_elements());
  const std::byte* from = file->bytes(*entry);
  if (now_as_f32) {
    if (!account(elements * sizeof(float), false)) return Tensor();
    Tensor out = Tensor::empty(shape);
    convert_elements(from, entry->dtype, out.raw_data(), DType::kF32, elements);
    drop_pages(from, entry->end - entry->begin);
    return out;
  }
  const DType target = target_dtype(*entry);
  const bool mapped = target == entry->dtype && file->is_aligned(*entry);
  if (!account(elements * dtype_bytes(target), mapped)) return Tensor();
  if (mapped) {
    defer(from, entry->dtype, nullptr, elements);
    return file->tensor(*entry);
  }
  Tensor out = Tensor::empty(shape, target);
  converted_.push_back(out);
  defer(from, entry->dtype, &out, elements);
  return out;
}

void CheckpointLoader::defer(const std::byte* from, DType from_dtype, const Tensor* to,
                             size_t elements) {
  const size_t step = kPieceBytes / dtype_bytes(from_dtype);
  for (size_t at = 0; at < elements; at += step) {
    Piece piece{from + at * dtype_bytes(from_dtype), from_dtype, nullptr, from_dtype,
                std::min(step, elements - at)};
    if (to != nullptr) {
      piece.to_dtype = to->dtype();
      piece.to = static_cast<std::byte*>(to->raw_data()) + at * dtype_bytes(piece.to_dtype);
    }
    pieces_.push_back(piece);
  }
}

Status CheckpointLoader::check_unexpected() const {
  std::vector<std::string> names;
  size_t count = 0;
  for (const auto& [name, tensor] : checkpoint_->tensors()) {
    if (!starts_with_any(name, options_.prefixes) || used_.contains(name)) continue;
    if (starts_with_any(name, options_.ignored_prefixes)) continue;
    if (++count <= kListedNames) names.push_back("'" + name + "'");
  }
  if (count == 0) return Status();
  std::string list = names[0];
  for (size_t i = 1; i < names.size(); ++i) list += ", " + names[i];
  if (count > names.size()) list += " and " + std::to_string(count - names.size()) + " more";
  return invalid_argument("'" + checkpoint_->listing().string() + "' has " + std::to_string(count) +
                          " tensor" + (count == 1 ? "" : "s") +
                          " that config.json does not account for: " + list + ".");
}

Status CheckpointLoader::finish() {
  TUTTI_RETURN_IF_ERROR(status_);
  status_ = check_unexpected();
  TUTTI_RETURN_IF_ERROR(status_);
  const auto run = [&](size_t i) {
    const Piece& piece = pieces_[i];
    const size_t bytes = piece.elements * dtype_bytes(piece.from_dtype);
    if (piece.to == nullptr) {
      read_ahead(piece.from, bytes);
    } else {
      convert_elements(piece.from, piece.from_dtype, piece.to, piece.to_dtype, piece.elements);
      drop_pages(piece.from, bytes);
    }
  };
  std::function<void(size_t)> progress;
  if (options_.on_progress && !pieces_.empty()) {
    progress = [&](size_t done) {
      options_.on_progress(static_cast<double>(done) / static_cast<double>(pieces_.size()));
    };
  }
  const bool complete =
      parallel_pieces(pieces_.size(), options_.num_threads, run, progress, options_.cancel);
  pieces_.clear();
  converted_.clear();
  if (!complete) return Status(StatusCode::kAborted, "Loading was given up.");
  stats_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return Status();
}

}  // namespace

std::unique_ptr<WeightLoader> make_checkpoint_loader(std::shared_ptr<const Checkpoint> checkpoint,
                                                     WeightLoaderOptions options) {
  return std::make_unique<CheckpointLoader>(std::move(checkpoint), std::move(options));
}

}  // namespace tutti
