#include "models/qwen3_omni_moe/prompt_media.h"

#include <fmt/format.h>

#include <cstring>

namespace tutti::qwen3_omni_moe {

namespace {

constexpr int64_t kShapeColumns = 4;
constexpr int64_t kHashColumns = sizeof(MediaHash) / sizeof(int32_t);
constexpr size_t kKinds = 3;

std::string features_name(size_t i) { return "media.features." + std::to_string(i); }

Status malformed() { return internal_error("The media tensors of a payload do not fit together."); }

// The last dimension of an item's features is what its encoder takes.
bool fits(const MediaInput& item, const ThinkerConfig& config) {
  const Tensor& x = item.features;
  const auto& [t, h, w] = item.grid_thw;
  if (x.dtype() != DType::kF32 || x.rank() != 2 || !x.is_contiguous() || t < 1) return false;
  if (item.kind == MediaKind::kAudio) {
    return config.audio && x.dim(0) == config.audio->num_mel_bins && x.dim(1) == t;
  }
  if (!config.vision || h < 1 || w < 1) return false;
  const int64_t merge = config.vision->spatial_merge_size;
  return h % merge == 0 && w % merge == 0 && x.dim(0) == t * h * w &&
         x.dim(1) == config.vision->patch_elements();
}

}  // namespace

int64_t MediaInput::rows(const ThinkerConfig& config) const {
  if (kind == MediaKind::kAudio) return config.audio->rows(grid_thw[0]);
  return grid_thw[0] * grid_thw[1] * grid_thw[2] / config.vision->merge_unit();
}

int64_t placeholder_id(const ThinkerConfig& config, MediaKind kind) {
  switch (kind) {
    case MediaKind::kAudio:
      return config.audio_token_id;
    case MediaKind::kImage:
      return config.image_token_id;
    case MediaKind::kVideo:
      return config.video_token_id;
  }
  return -1;
}

const char* kind_name(MediaKind kind) {
  return kind == MediaKind::kAudio ? "audio" : kind == MediaKind::kImage ? "image" : "video";
}

void put_media(const PromptMedia& media, bool with_features, StagePayload& payload) {
  if (media.items.empty()) return;
  std::vector<int32_t> shapes, hashes;
  std::vector<float> seconds;
  for (size_t i = 0; i < media.items.size(); ++i) {
    const MediaInput& item = media.items[i];
    shapes.push_back(static_cast<int32_t>(item.kind));
    for (int64_t size : item.grid_thw) shapes.push_back(static_cast<int32_t>(size));
    seconds.push_back(static_cast<float>(item.second_per_grid));
    hashes.resize(hashes.size() + kHashColumns);
    std::memcpy(hashes.data() + hashes.size() - kHashColumns, &item.hash, sizeof(MediaHash));
    if (with_features) payload.tensors[features_name(i)] = item.features;
  }
  const auto n = static_cast<int64_t>(media.items.size());
  payload.tensors["media.shapes"] = Tensor::from_vector(shapes, {n, kShapeColumns});
  payload.tensors["media.seconds"] = Tensor::from_vector(seconds, {n});
  payload.tensors["media.hashes"] = Tensor::from_vector(hashes, {n, kHashColumns});
  payload.tensors["media.options"] =
      Tensor::from_vector(std::vector<int32_t>{media.audio_in_video ? 1 : 0}, {1});
}

Result<PromptMedia> take_media(const StagePayload& payload, const ThinkerConfig& config) {
  PromptMedia media;
  const auto find = [&](const std::string& name, DType dtype) {
    const auto it = payload.tensors.find(name);
    return it != payload.tensors.end() && it->second.dtype() == dtype ? it->second : Tensor();
  };
  const Tensor shapes = find("media.shapes", DType::kI32);
  if (!shapes.defined()) return media;
  const Tensor seconds = find("media.seconds", DType::kF32);
  const Tensor hashes = find("media.hashes", DType::kI32);
  const Tensor options = find("media.options", DType::kI32);
  const int64_t n = shapes.rows();
  if (shapes.cols() != kShapeColumns || !seconds.defined() || seconds.num_elements() != n ||
      !hashes.defined() || hashes.num_elements() != n * kHashColumns || !options.defined()) {
    return malformed();
  }
  media.audio_in_video = options.data<int32_t>()[0] != 0;
  for (int64_t i = 0; i < n; ++i) {
    MediaInput& item = media.items.emplace_back();
    const int32_t* shape = shapes.data<int32_t>() + i * kShapeColumns;
    if (shape[0] < 0 || shape[0] >= static_cast<int32_t>(kKinds)) return malformed();
    item.kind = static_cast<MediaKind>(shape[0]);
    item.grid_thw = {shape[1], shape[2], shape[3]};
    item.second_per_grid = seconds.data<float>()[i];
    std::memcpy(&item.hash, hashes.data<int32_t>() + i * kHashColumns, sizeof(MediaHash));
    item.features = find(features_name(static_cast<size_t>(i)), DType::kF32);
    if (item.features.defined() && !fits(item, config)) return malformed();
  }
  return media;
}

Result<std::vector<MediaRow>> locate_media(const ThinkerConfig& config,
                                           std::span<const int32_t> ids, const PromptMedia& media) {
  std::vector<MediaRow> rows(ids.size());
  for (const MediaKind kind : {MediaKind::kAudio, MediaKind::kImage, MediaKind::kVideo}) {
    std::vector<MediaRow> expected;
    for (size_t i = 0; i < media.items.size(); ++i) {
      if (media.items[i].kind != kind) continue;
      const int64_t count = media.items[i].rows(config);
      for (int64_t r = 0; r < count; ++r) {
        expected.push_back({static_cast<int32_t>(i), static_cast<int32_t>(r)});
      }
    }
    const int64_t id = placeholder_id(config, kind);
    size_t found = 0;
    for (size_t p = 0; p < ids.size(); ++p) {
      if (ids[p] != id) continue;
      if (found < expected.size()) rows[p] = expected[found];
      ++found;
    }
    if (found != expected.size()) {
      return invalid_argument(fmt::format("The prompt has {} {} placeholders; its items need {}.",
                                          found, kind_name(kind), expected.size()));
    }
  }
  return rows;
}

}  // namespace tutti::qwen3_omni_moe
