#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "base/random.h"
#include "weights/parallel.h"
#include "weights/weight_loader.h"

namespace tutti {

namespace {

constexpr size_t kPieceElements = size_t{1} << 21;

uint64_t hash_name(std::string_view name, uint64_t seed) {
  uint64_t h = 0xCBF29CE484222325ull ^ seed;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;  // FNV-1a
  return mix64(h);
}

// Values are offset + scale * u with u uniform in [-1, 1).
struct Piece {
  std::byte* to = nullptr;
  DType dtype = DType::kF32;
  size_t elements = 0;
  uint64_t key = 0;
  float offset = 0;
  float scale = 1;
};

// One random byte chooses one of 256 evenly spaced values: eight elements from a draw, so that
// gigabytes are filled at the speed of memory.
template <typename T, typename Convert>
void fill_as(const Piece& piece, Convert convert) {
  std::array<T, 256> values;
  for (size_t i = 0; i < values.size(); ++i) {
    const float u = (static_cast<float>(i) - 127.5f) / 128.0f;
    values[i] = convert(piece.offset + piece.scale * u);
  }
  auto* to = reinterpret_cast<T*>(piece.to);
  for (size_t i = 0; i < piece.elements; i += 8) {
    uint64_t bits = mix64(piece.key + i);
    const size_t n = std::min<size_t>(8, piece.elements - i);
    for (size_t j = 0; j < n; ++j, bits >>= 8) to[i + j] = values[bits & 0xFF];
  }
}

void fill(const Piece& piece) {
  if (piece.dtype == DType::kF32) {
    fill_as<float>(piece, [](float v) { return v; });
  } else {
    fill_as<bf16>(piece, to_bf16);
  }
}

// Zero pages from the system, in huge pages where it can: a decode step walks through all of it.
std::shared_ptr<Storage> allocate_large(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  if (bytes < kHugePage) return allocate_host(bytes);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TUTTI_CHECK(data != MAP_FAILED, "out of host memory");
  ::madvise(data, bytes, MADV_HUGEPAGE);
  return std::make_shared<Storage>(data, bytes, Device{}, [bytes](void* p) { ::munmap(p, bytes); });
}

class DummyLoader final : public WeightLoader {
 public:
  DummyLoader(uint64_t seed, WeightLoaderOptions options)
      : seed_(seed), options_(std::move(options)), start_(std::chrono::steady_clock::now()) {}

  bool has(const std::string&) const override { return true; }
  DType matrix_dtype(const std::string&) const override {
    return options_.dtype.value_or(DType::kBF16);
  }
  Status finish() override;

 protected:
  Tensor do_get(const std::string& name, const Shape& shape, bool now_as_f32) override;

 private:
  uint64_t seed_;
  WeightLoaderOptions options_;
  std::chrono::steady_clock::time_point start_;
  std::vector<Tensor> drawn_;  // kept alive until finish() has filled them
  std::vector<Piece> pieces_;
};

Tensor DummyLoader::do_get(const std::string& name, const Shape& shape, bool now_as_f32) {
  const DType dtype =
      now_as_f32 || shape.rank() < 2 ? DType::kF32 : options_.dtype.value_or(DType::kBF16);
  const auto elements = static_cast<size_t>(shape.num_elements());
  if (!account(elements * dtype_bytes(dtype), false)) return Tensor();
  Tensor out(allocate_large(elements * dtype_bytes(dtype)), 0, dtype, shape);
  float offset = 0;
  float scale = 0.02f;
  if (shape.rank() >= 2) {
    const auto fan_in = static_cast<float>(std::max<int64_t>(1, shape.num_elements() / shape[0]));
    scale = std::sqrt(3.0f / fan_in);  // a uniform number in [-a, a] has variance a^2 / 3
  } else if (name.find("norm") != std::string::npos && name.ends_with("weight")) {
    offset = 1;
  }
  const uint64_t key = hash_name(name, seed_);
  auto* to = static_cast<std::byte*>(out.raw_data());
  for (size_t at = 0; at < elements; at += kPieceElements) {
    const Piece piece{to + at * dtype_bytes(dtype),
                      dtype,
                      std::min(kPieceElements, elements - at),
                      key + at,
                      offset,
                      scale};
    if (now_as_f32) {
      fill(piece);
    } else {
      pieces_.push_back(piece);
    }
  }
  if (!now_as_f32) drawn_.push_back(out);
  return out;
}

Status DummyLoader::finish() {
  TUTTI_RETURN_IF_ERROR(status_);
  std::function<void(size_t)> progress;
  if (options_.on_progress && !pieces_.empty()) {
    progress = [&](size_t done) {
      options_.on_progress(static_cast<double>(done) / static_cast<double>(pieces_.size()));
    };
  }
  const bool complete = parallel_pieces(
      pieces_.size(), options_.num_threads, [&](size_t i) { fill(pieces_[i]); }, progress,
      options_.cancel);
  pieces_.clear();
  drawn_.clear();
  if (!complete) return Status(StatusCode::kAborted, "Loading was given up.");
  stats_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return Status();
}

}  // namespace

std::unique_ptr<WeightLoader> make_dummy_loader(uint64_t seed, WeightLoaderOptions options) {
  return std::make_unique<DummyLoader>(seed, std::move(options));
}

}  // namespace tutti
