#include "media/frontend_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>

#include "base/json_file.h"
#include "media/audio_file.h"
#include "media/image_features.h"
#include "media/image_file.h"
#include "media/image_resize.h"
#include "media/mel.h"
#include "media/preprocessor_config.h"
#include "media/resampler.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// What the reference data's notes advise for another float32 implementation.
constexpr double kMelTolerance = 1e-3;
constexpr double kFilterTolerance = 1e-6;
constexpr double kLevelTolerance = 1;
constexpr double kResampleDb = 30;

constexpr const char* kAbsolute = "largest absolute error";
constexpr const char* kDecibel = "signal to difference in dB";
constexpr const char* kRows = "rows that differ";

const json::object& object_of(const json::object& parent, std::string_view key) {
  static const json::object kNone;
  const json::value* value = parent.if_contains(key);
  return value != nullptr && value->is_object() ? value->as_object() : kNone;
}

int64_t integer_of(const json::object& parent, std::string_view key, int64_t otherwise) {
  const json::value* value = parent.if_contains(key);
  return value != nullptr && value->is_int64() ? value->as_int64() : otherwise;
}

template <typename T>
double load(const Tensor& tensor, int64_t at) {
  T value;  // a mapped file need not be aligned
  std::memcpy(&value, static_cast<const std::byte*>(tensor.raw_data()) + at * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

double element(const Tensor& tensor, int64_t row, int64_t column) {
  const int64_t at = row * tensor.row_stride() + column;
  switch (tensor.dtype()) {
    case DType::kU8:
      return load<uint8_t>(tensor, at);
    case DType::kI64:
      return load<int64_t>(tensor, at);
    case DType::kF32:
      return load<float>(tensor, at);
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

struct Difference {
  double largest = 0;   // absolute
  double relative = 0;  // to the stored value, over values of at least a thousandth of the peak
};

// Of two tensors of the same shape; a NaN anywhere makes `largest` infinite.
Difference difference(const Tensor& got, const Tensor& want) {
  double peak = 0;
  for (int64_t row = 0; row < want.rows(); ++row) {
    for (int64_t i = 0; i < want.cols(); ++i)
      peak = std::max(peak, std::abs(element(want, row, i)));
  }
  Difference out;
  for (int64_t row = 0; row < want.rows(); ++row) {
    for (int64_t i = 0; i < want.cols(); ++i) {
      const double expected = element(want, row, i);
      const double error = std::abs(element(got, row, i) - expected);
      out.largest = std::isnan(error) ? INFINITY : std::max(out.largest, error);
      if (expected == 0 || std::abs(expected) < 1e-3 * peak) continue;
      out.relative = std::max(out.relative, error / std::abs(expected));
    }
  }
  return out;
}

// Every `step`-th row of a matrix.
Tensor every_row(const Tensor& matrix, int64_t step) {
  Tensor out = Tensor::empty(Shape{(matrix.dim(0) + step - 1) / step, matrix.dim(1)});
  for (int64_t i = 0; i < out.dim(0); ++i) {
    std::copy_n(matrix.data<float>() + i * step * matrix.dim(1), matrix.dim(1),
                out.data<float>() + i * out.dim(1));
  }
  return out;
}

Tensor grid_tensor(const Patches& patches) {
  return Tensor::from_vector(std::vector<int64_t>(patches.grid_thw.begin(), patches.grid_thw.end()),
                             Shape{1, 3});
}

// Two levels of an 8-bit picture after normalisation: a resized value may differ by one.
double pixel_tolerance(const PatchConfig& config) {
  return 2 * config.rescale_factor / *std::min_element(config.std.begin(), config.std.end());
}

// The checks of one file of tensors; collects results under the tensors' names.
class Checker {
 public:
  Checker(fs::path dir, std::string file, const TensorLookup& lookup, MediaCheckReport& report)
      : dir_(std::move(dir)), file_(std::move(file)), lookup_(lookup), report_(report) {}

  void compare(const std::string& name, const Result<Tensor>& got, double allowed) {
    const Result<Tensor> want = stored(name);
    if (!want.ok()) return fail(name, want.error().message());
    if (!got.ok()) return fail(name, got.error().message());
    if (got->shape() != want->shape() || got->dtype() != want->dtype()) {
      return fail(name, fmt::format("computed {} {}, stored {} {}", dtype_name(got->dtype()),
                                    got->shape().to_string(), dtype_name(want->dtype()),
                                    want->shape().to_string()));
    }
    const Difference found = difference(*got, *want);
    add({.name = name,
         .measure = kAbsolute,
         .value = found.largest,
         .allowed = allowed,
         .relative = found.relative,
         .passed = found.largest <= allowed});
  }

  // How far apart two resamplings are; the stored ones may differ in length by a sample.
  void compare_sound(const std::string& name, const Result<std::vector<float>>& got) {
    const Result<Tensor> want = stored(name);
    if (!want.ok()) return fail(name, want.error().message());
    if (!got.ok()) return fail(name, got.error().message());
    const auto length = static_cast<int64_t>(got->size());
    if (std::abs(length - want->num_elements()) > 1) {
      return fail(name,
                  fmt::format("computed {} samples, stored {}", length, want->num_elements()));
    }
    double signal = 0, difference = 0;
    for (int64_t i = 0; i < std::min(length, want->num_elements()); ++i) {
      const double value = element(*want, 0, i);
      signal += value * value;
      difference += (value - (*got)[i]) * (value - (*got)[i]);
    }
    const double decibel = 10 * std::log10(signal / std::max(difference, 1e-30));
    add({.name = name,
         .measure = kDecibel,
         .value = decibel,
         .allowed = kResampleDb,
         .passed = decibel >= kResampleDb});
  }

  void fail(const std::string& name, const std::string& why) {
    add({.name = name, .value = std::numeric_limits<double>::quiet_NaN(), .note = why});
  }

  void add(MediaCheck check) {
    compared_.insert(check.name);
    report_.checks.push_back(std::move(check));
  }

  void list_not_compared(const json::object& tensors) {
    for (const auto& entry : tensors) {
      const std::string name(entry.key());
      if (!compared_.contains(name)) report_.not_compared.push_back(name);
    }
  }

  fs::path media(const std::string& name) const { return dir_ / ".." / "media" / name; }
  Result<PreprocessorConfig> config_of(const std::string& family) const {
    return load_preprocessor_config((dir_ / ".." / family / "checkpoint").string());
  }

 private:
  Result<Tensor> stored(const std::string& name) const { return lookup_(file_, name); }

  fs::path dir_;
  std::string file_;
  const TensorLookup& lookup_;
  MediaCheckReport& report_;
  std::set<std::string> compared_;
};

Result<Tensor> mel_of(const Checker& checker, const std::string& wave, const std::string& family,
                      int64_t first_frame) {
  TUTTI_ASSIGN_OR_RETURN(const PreprocessorConfig config, checker.config_of(family));
  TUTTI_ASSIGN_OR_RETURN(const MelExtractor extractor, MelExtractor::create(config.mel));
  TUTTI_ASSIGN_OR_RETURN(
      const std::vector<float> samples,
      read_audio(checker.media(wave + ".wav").string(), config.mel.sampling_rate));
  TUTTI_ASSIGN_OR_RETURN(const Tensor mel, extractor.extract(samples));
  if (first_frame > mel.dim(1)) return invalid_argument("there are fewer frames than were stored");
  return mel.columns(first_frame, mel.dim(1));
}

Result<Tensor> filters_of(const Checker& checker, const std::string& family) {
  TUTTI_ASSIGN_OR_RETURN(const PreprocessorConfig config, checker.config_of(family));
  TUTTI_ASSIGN_OR_RETURN(const MelExtractor extractor, MelExtractor::create(config.mel));
  return extractor.filters();
}

// resample.to_16k.* come from a whole recording at 24 kHz, resample.to_24k.* from the first second
// of one at 16 kHz; what follows names the method.
Result<std::vector<float>> resampled(const Checker& checker, const std::string& name) {
  const bool down = name.starts_with("resample.to_16k.");
  const int32_t from = down ? 24000 : 16000;
  const int32_t to = down ? 16000 : 24000;
  const std::string file = down ? "speech_24k.wav" : "speech_short_16k.wav";
  TUTTI_ASSIGN_OR_RETURN(std::vector<float> samples,
                         read_audio(checker.media(file).string(), from));
  if (!down) samples.resize(std::min<size_t>(samples.size(), 16000));
  return resample(samples, from, to);
}

void check_audio(Checker& checker, const json::object& info) {
  std::set<std::string> families;
  for (const auto& wave : object_of(info, "waves")) {
    if (!wave.value().is_object()) continue;
    for (const auto& family : wave.value().as_object()) {
      if (!family.value().is_object()) continue;  // samples, rate
      families.emplace(family.key());
      const std::string name =
          fmt::format("mel.{}.{}", std::string(family.key()), std::string(wave.key()));
      const int64_t first = integer_of(object_of(info, "first_frame_stored"), name, 0);
      checker.compare(name,
                      mel_of(checker, std::string(wave.key()), std::string(family.key()), first),
                      kMelTolerance);
    }
  }
  for (const auto& tensor : object_of(info, "tensors")) {
    const std::string name(tensor.key());
    if (name.starts_with("resample.to_16k.") || name.starts_with("resample.to_24k.")) {
      checker.compare_sound(name, resampled(checker, name));
    } else if (name == "mel_filters" && !families.empty()) {
      checker.compare(name, filters_of(checker, *families.begin()), kFilterTolerance);
    }
  }
  checker.list_not_compared(object_of(info, "tensors"));
}

// Prefix of the tensors that hold all rows, or every n-th, of one picture's or clip's patches:
// "pixel_values" or "pixel_values_every8th". The step is 0 when no such tensor is listed.
struct StoredRows {
  std::string name;
  int64_t step = 0;
};

StoredRows stored_rows(const json::object& tensors, const std::string& prefix,
                       const std::string& suffix) {
  if (tensors.contains(prefix + suffix)) return {prefix + suffix, 1};
  for (const auto& entry : tensors) {
    const std::string name(entry.key());
    const std::string start = prefix + "_every";
    if (!name.starts_with(start) || !name.ends_with("th" + suffix)) continue;
    return {name, std::strtoll(name.c_str() + start.size(), nullptr, 10)};
  }
  return {};
}

void compare_patches(Checker& checker, const StoredRows& rows, const std::string& grid,
                     const Result<Patches>& patches, const PatchConfig& config) {
  if (!patches.ok()) {
    checker.fail(rows.name, patches.error().message());
    return checker.fail(grid, patches.error().message());
  }
  checker.compare(grid, grid_tensor(*patches), 0);
  if (rows.step > 0) {
    checker.compare(rows.name, every_row(patches->pixel_values, rows.step),
                    pixel_tolerance(config));
  }
}

Result<Tensor> resized(const Tensor& rgb, const PatchConfig& config) {
  TUTTI_ASSIGN_OR_RETURN(
      const Size size,
      smart_resize({rgb.dim(0), rgb.dim(1)}, int64_t{config.patch_size} * config.merge_size,
                   config.min_pixels, config.max_pixels));
  return resize_bicubic(rgb, size);
}

void check_picture(Checker& checker, const json::object& tensors, const std::string& file,
                   const json::object& entry) {
  const std::string key = file.substr(0, file.find('.'));
  const Result<Tensor> rgb = read_image(checker.media(file).string());
  checker.compare("rgb." + key, rgb, 0);
  if (!rgb.ok()) return;
  for (const auto& item : entry) {
    if (!item.value().is_object()) continue;  // mode, size
    const std::string family(item.key());
    const std::string suffix = "." + family + "." + key;
    const Result<PreprocessorConfig> config = checker.config_of(family);
    if (!config.ok()) {
      checker.fail("resized" + suffix, config.error().message());
      continue;
    }
    checker.compare("resized" + suffix, resized(*rgb, config->image), kLevelTolerance);
    compare_patches(checker, stored_rows(tensors, "pixel_values", suffix), "grid_thw" + suffix,
                    image_patches(*rgb, config->image), config->image);
  }
}

Result<Tensor> read_frames(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) files.push_back(entry.path());
  if (files.empty()) return not_found(fmt::format("'{}' holds no frames", folder.string()));
  std::sort(files.begin(), files.end());
  Tensor out;
  for (size_t i = 0; i < files.size(); ++i) {
    TUTTI_ASSIGN_OR_RETURN(const Tensor frame, read_image(files[i].string()));
    if (i == 0) {
      out = Tensor::empty(Shape{static_cast<int64_t>(files.size()), frame.dim(0), frame.dim(1), 3},
                          DType::kU8);
    }
    if (frame.bytes() * files.size() != out.bytes()) {
      return invalid_argument(fmt::format("'{}' has another size", files[i].string()));
    }
    std::copy_n(frame.data<uint8_t>(), frame.bytes(), out.data<uint8_t>() + i * frame.bytes());
  }
  return out;
}

// The clip's limits are 128 and 768 squares of patch size x merge size, whatever the settings say.
void check_clip(Checker& checker, const json::object& tensors) {
  const std::string prefix = "video.grid_thw.";
  const Result<Tensor> frames = read_frames(checker.media("clip_frames"));
  for (const auto& entry : tensors) {
    const std::string grid(entry.key());
    if (!grid.starts_with(prefix)) continue;
    const std::string family = grid.substr(prefix.size());
    const StoredRows rows = stored_rows(tensors, "video.pixel_values", "." + family);
    Result<PreprocessorConfig> config = checker.config_of(family);
    if (!config.ok() || !frames.ok()) {
      checker.fail(grid, (config.ok() ? frames.error() : config.error()).message());
      continue;
    }
    PatchConfig& video = config->video;
    const int64_t factor = int64_t{video.patch_size} * video.merge_size;
    video.min_pixels = 128 * factor * factor;
    video.max_pixels = 768 * factor * factor;
    compare_patches(checker, rows, grid, video_patches(*frames, video), video);
  }
}

// Rows with the reference's answer; null where it refuses.
void check_smart_resize(Checker& checker, const json::object& info) {
  const json::value* rows = info.if_contains("smart_resize");
  if (rows == nullptr || !rows->is_array()) return;
  double differing = 0;
  for (const json::value& value : rows->as_array()) {
    if (!value.is_object()) continue;
    const json::object& row = value.as_object();
    const Result<Size> got = smart_resize(
        {integer_of(row, "h", 0), integer_of(row, "w", 0)}, integer_of(row, "factor", 1),
        integer_of(row, "min_pixels", 0), integer_of(row, "max_pixels", 0));
    const json::value* out = row.if_contains("out_hw");
    const bool refused = out == nullptr || out->is_null();
    const json::value mine = got.ok() ? json::value{got->height, got->width} : json::value(nullptr);
    if (refused ? got.ok() : mine != *out) ++differing;
  }
  checker.add({.name = fmt::format("smart_resize ({} rows)", rows->as_array().size()),
               .measure = kRows,
               .value = differing,
               .passed = differing == 0 && !rows->as_array().empty()});
}

void check_images(Checker& checker, const json::object& info) {
  const json::object& tensors = object_of(info, "tensors");
  for (const auto& entry : object_of(info, "images")) {
    if (!entry.value().is_object()) continue;
    check_picture(checker, tensors, std::string(entry.key()), entry.value().as_object());
  }
  check_clip(checker, tensors);
  check_smart_resize(checker, info);
  checker.list_not_compared(tensors);
}

}  // namespace

Result<MediaCheckReport> check_frontend_media(const std::string& dir, const TensorLookup& lookup) {
  const fs::path folder(dir);
  TUTTI_ASSIGN_OR_RETURN(const json::object audio, read_json_object(folder / "audio.json"));
  TUTTI_ASSIGN_OR_RETURN(const json::object images, read_json_object(folder / "image.json"));
  MediaCheckReport report;
  Checker audio_checker(folder, "audio.safetensors", lookup, report);
  check_audio(audio_checker, audio);
  Checker image_checker(folder, "image.safetensors", lookup, report);
  check_images(image_checker, images);
  return report;
}

}  // namespace tutti
