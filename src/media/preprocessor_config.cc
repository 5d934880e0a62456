#include "media/preprocessor_config.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "base/json_file.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kSplitFile = "preprocessor_config.json";
constexpr std::string_view kVideoFile = "video_preprocessor_config.json";
constexpr std::string_view kJointFile = "processor_config.json";

// Far beyond every published model; they keep sizes computed from these settings in range.
constexpr double kMostHz = 768'000;
constexpr double kMostWindow = 65'536;
constexpr double kMostBins = 1024;
constexpr double kMostPixels = 1e9;
constexpr double kMostPatch = 256;
constexpr double kLeastFps = 1e-3;
constexpr double kMostFps = 1000;
constexpr double kMostFrames = 65'536;

// One JSON object with the name that errors give it.
struct Settings {
  json::object values;
  std::string name;
};

Result<Settings> load_object(const fs::path& path) {
  TUTTI_ASSIGN_OR_RETURN(json::object values, read_json_object(path));
  return Settings{std::move(values), path.string()};
}

Status wrong(const Settings& settings, std::string_view key, std::string_view allowed) {
  const json::value* found = settings.values.if_contains(key);
  return invalid_argument(fmt::format("'{}': '{}' is {}; allowed is {}", settings.name, key,
                                      found ? json::serialize(*found) : "missing", allowed));
}

// Leaves `out` as it is when the key is missing or null.
Status read_number(const Settings& settings, std::string_view key, double lowest, double highest,
                   double& out) {
  const json::value* value = settings.values.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  boost::system::error_code error;
  const auto number = value->to_number<double>(error);
  if (error || !(number >= lowest && number <= highest)) {
    return wrong(settings, key, fmt::format("a number from {} to {}", lowest, highest));
  }
  out = number;
  return {};
}

template <typename T>
Status read_count(const Settings& settings, std::string_view key, double most, T& out) {
  double number = static_cast<double>(out);
  TUTTI_RETURN_IF_ERROR(read_number(settings, key, 1, most, number));
  out = static_cast<T>(number);
  return {};
}

Status read_colours(const Settings& settings, std::string_view key, float lowest,
                    std::array<float, 3>& out) {
  const json::value* value = settings.values.if_contains(key);
  if (value == nullptr) return {};
  if (!value->is_array() || value->as_array().size() != 3) {
    return wrong(settings, key, "a list of three numbers");
  }
  for (size_t c = 0; c < 3; ++c) {
    boost::system::error_code error;
    out[c] = value->as_array()[c].to_number<float>(error);
    if (error || !(out[c] >= lowest)) {
      return wrong(settings, key, fmt::format("a list of three numbers of at least {}", lowest));
    }
  }
  return {};
}

// Error unless the key is missing or holds one of the names.
Status require_name(const Settings& settings, std::string_view key,
                    std::initializer_list<std::string_view> names) {
  const json::value* value = settings.values.if_contains(key);
  if (value == nullptr) return {};
  for (const std::string_view name : names) {
    if (value->is_string() && std::string_view(value->as_string()) == name) return {};
  }
  return wrong(settings, key, fmt::format("'{}'", fmt::join(names, "' or '")));
}

Status require_true(const Settings& settings, std::string_view key) {
  const json::value* value = settings.values.if_contains(key);
  if (value == nullptr || (value->is_bool() && value->as_bool())) return {};
  return wrong(settings, key, "true");
}

// Whether sounds are padded is no setting of the file: the reference's processor class decides it.
Status read_padding(const Settings& settings, std::string_view processor_class, MelConfig& out) {
  if (processor_class != "Qwen2_5OmniProcessor") return {};
  TUTTI_RETURN_IF_ERROR(require_name(settings, "padding_side", {"left", "right"}));
  const json::value* side = settings.values.if_contains("padding_side");
  const bool left = side != nullptr && side->as_string() == "left";
  out.padding = left ? MelConfig::Padding::kSilenceBefore : MelConfig::Padding::kSilenceAfter;
  return {};
}

Result<MelConfig> read_mel(const Settings& settings, std::string_view processor_class) {
  MelConfig out;
  TUTTI_RETURN_IF_ERROR(
      require_name(settings, "feature_extractor_type", {"WhisperFeatureExtractor"}));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "sampling_rate", kMostHz, out.sampling_rate));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "n_fft", kMostWindow, out.n_fft));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "hop_length", kMostWindow, out.hop_length));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "feature_size", kMostBins, out.num_mel_bins));
  double seconds = 300;
  TUTTI_RETURN_IF_ERROR(read_number(settings, "chunk_length", 1, 1e6, seconds));
  out.max_samples = static_cast<int64_t>(seconds * out.sampling_rate);
  double zero = 0;
  TUTTI_RETURN_IF_ERROR(read_number(settings, "dither", 0, 0, zero));
  TUTTI_RETURN_IF_ERROR(read_number(settings, "padding_value", 0, 0, zero));
  TUTTI_RETURN_IF_ERROR(read_padding(settings, processor_class, out));
  return out;
}

// size.shortest_edge and size.longest_edge are numbers of pixels here; min_pixels and max_pixels
// are the older names and win.
Status read_pixel_limits(const Settings& settings, PatchConfig& out) {
  if (const json::value* size = settings.values.if_contains("size"); size && size->is_object()) {
    const Settings inner{size->as_object(), settings.name};
    TUTTI_RETURN_IF_ERROR(read_count(inner, "shortest_edge", kMostPixels, out.min_pixels));
    TUTTI_RETURN_IF_ERROR(read_count(inner, "longest_edge", kMostPixels, out.max_pixels));
  }
  TUTTI_RETURN_IF_ERROR(read_count(settings, "min_pixels", kMostPixels, out.min_pixels));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "max_pixels", kMostPixels, out.max_pixels));
  if (out.min_pixels > out.max_pixels) {
    return wrong(settings, "min_pixels", fmt::format("at most max_pixels ({})", out.max_pixels));
  }
  return {};
}

Result<PatchConfig> read_patches(const Settings& settings) {
  PatchConfig out;
  TUTTI_RETURN_IF_ERROR(require_name(settings, "image_processor_type",
                                     {"Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"}));
  TUTTI_RETURN_IF_ERROR(require_name(settings, "video_processor_type", {"Qwen2VLVideoProcessor"}));
  for (const std::string_view step : {"do_resize", "do_rescale", "do_normalize"}) {
    TUTTI_RETURN_IF_ERROR(require_true(settings, step));
  }
  double bicubic = 3;
  TUTTI_RETURN_IF_ERROR(read_number(settings, "resample", 3, 3, bicubic));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "patch_size", kMostPatch, out.patch_size));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "merge_size", kMostPatch, out.merge_size));
  TUTTI_RETURN_IF_ERROR(
      read_count(settings, "temporal_patch_size", kMostPatch, out.temporal_patch_size));
  TUTTI_RETURN_IF_ERROR(read_pixel_limits(settings, out));
  TUTTI_RETURN_IF_ERROR(read_number(settings, "rescale_factor", 1e-9, 1e9, out.rescale_factor));
  TUTTI_RETURN_IF_ERROR(read_colours(settings, "image_mean", 0.0f, out.mean));
  TUTTI_RETURN_IF_ERROR(read_colours(settings, "image_std", 1e-3f, out.std));
  return out;
}

// The keys that newer video processors have; the defaults are the reference's.
Result<FrameSampling> read_sampling(const Settings& settings) {
  FrameSampling out;
  TUTTI_RETURN_IF_ERROR(read_number(settings, "fps", kLeastFps, kMostFps, out.fps));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "min_frames", kMostFrames, out.min_frames));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "max_frames", kMostFrames, out.max_frames));
  TUTTI_RETURN_IF_ERROR(read_count(settings, "temporal_patch_size", kMostPatch, out.multiple));
  if (out.min_frames > out.max_frames || out.multiple > out.max_frames) {
    return wrong(settings, "max_frames",
                 fmt::format("at least min_frames ({}) and temporal_patch_size ({})",
                             out.min_frames, out.multiple));
  }
  return out;
}

std::string processor_class_of(const Settings& settings) {
  const json::value* name = settings.values.if_contains("processor_class");
  return name != nullptr && name->is_string() ? std::string(name->as_string()) : std::string();
}

Result<Settings> part_of(const Settings& settings, std::string_view key) {
  const json::value* part = settings.values.if_contains(key);
  if (part == nullptr || !part->is_object()) return wrong(settings, key, "an object");
  return Settings{part->as_object(), settings.name + ": " + std::string(key)};
}

Result<PreprocessorConfig> load_joint(const fs::path& path) {
  TUTTI_ASSIGN_OR_RETURN(const Settings all, load_object(path));
  TUTTI_ASSIGN_OR_RETURN(const Settings sound, part_of(all, "feature_extractor"));
  TUTTI_ASSIGN_OR_RETURN(const Settings image, part_of(all, "image_processor"));
  TUTTI_ASSIGN_OR_RETURN(const Settings video, part_of(all, "video_processor"));
  PreprocessorConfig out;
  TUTTI_ASSIGN_OR_RETURN(out.mel, read_mel(sound, processor_class_of(all)));
  TUTTI_ASSIGN_OR_RETURN(out.image, read_patches(image));
  TUTTI_ASSIGN_OR_RETURN(out.video, read_patches(video));
  TUTTI_ASSIGN_OR_RETURN(out.sampling, read_sampling(video));
  return out;
}

}  // namespace

Result<PreprocessorConfig> load_preprocessor_config(const std::string& model_dir) {
  const fs::path dir(model_dir);
  std::error_code ignored;
  if (!fs::exists(dir / kSplitFile, ignored)) {
    if (fs::exists(dir / kJointFile, ignored)) return load_joint(dir / kJointFile);
    return not_found(fmt::format("'{}' has neither {} nor {}", model_dir, kSplitFile, kJointFile));
  }
  TUTTI_ASSIGN_OR_RETURN(const Settings image, load_object(dir / kSplitFile));
  PreprocessorConfig out;
  TUTTI_ASSIGN_OR_RETURN(out.mel, read_mel(image, processor_class_of(image)));
  TUTTI_ASSIGN_OR_RETURN(out.image, read_patches(image));
  if (fs::exists(dir / kVideoFile, ignored)) {
    TUTTI_ASSIGN_OR_RETURN(const Settings video, load_object(dir / kVideoFile));
    TUTTI_ASSIGN_OR_RETURN(out.video, read_patches(video));
    TUTTI_ASSIGN_OR_RETURN(out.sampling, read_sampling(video));
  } else {
    out.video = out.image;  // older directories: one file for both
    TUTTI_ASSIGN_OR_RETURN(out.sampling, read_sampling(image));
  }
  return out;
}

}  // namespace tutti
