#include "models/qwen3_omni_moe/media_encoder.h"

#include <algorithm>

#include "ops/elementwise.h"

namespace tutti::qwen3_omni_moe {

namespace {
// Rows of the thinker that one pass makes, unless one item alone has more.
constexpr int64_t kRowsAtOnce = 2048;
}  // namespace

Towers load_towers(WeightLoader& weights, const ThinkerConfig& config) {
  Towers towers;
  if (config.audio) towers.audio = AudioTower::load(weights, *config.audio);
  if (config.vision) towers.vision = VisionTower::load(weights, *config.vision);
  return towers;
}

void MediaEncoder::encode(OpContext& ctx, std::span<MediaState* const> items, const Probe& probe) {
  for (const MediaKind kind : {MediaKind::kAudio, MediaKind::kImage, MediaKind::kVideo}) {
    encode_kind(ctx, kind, items, probe);
  }
}

void MediaEncoder::encode_kind(OpContext& ctx, MediaKind kind, std::span<MediaState* const> items,
                               const Probe& probe) {
  std::vector<MediaState*> missing;  // one for each content
  std::vector<MediaState*> copies;
  for (MediaState* item : items) {
    if (item->input.kind != kind || item->encoded != nullptr) continue;
    item->encoded = cache_.find(item->input.hash);
    if (item->encoded != nullptr) continue;
    const bool again = std::ranges::any_of(
        missing, [&](const MediaState* m) { return m->input.hash == item->input.hash; });
    (again ? copies : missing).push_back(item);
  }
  for (size_t begin = 0; begin < missing.size();) {
    int64_t rows = missing[begin]->input.rows(config_);
    size_t end = begin + 1;
    while (end < missing.size() && rows + missing[end]->input.rows(config_) <= kRowsAtOnce) {
      rows += missing[end++]->input.rows(config_);
    }
    run(ctx, std::span(missing).subspan(begin, end - begin), probe);
    begin = end;
  }
  for (MediaState* item : copies) {
    const auto same = std::ranges::find_if(
        missing, [&](const MediaState* m) { return m->input.hash == item->input.hash; });
    item->encoded = (*same)->encoded;
  }
  for (MediaState* item : items) {
    if (item->encoded != nullptr) item->input.features = Tensor();
  }
}

void MediaEncoder::run(OpContext& ctx, std::span<MediaState* const> items, const Probe& probe) {
  Workspace::Scope scratch(ctx.workspace);
  const bool audio = items.front()->input.kind == MediaKind::kAudio;
  int64_t total = 0;
  for (const MediaState* item : items) total += item->input.rows(config_);
  const int64_t width = config_.text.hidden_size;
  const Tensor rows = ctx.workspace.tensor({total, width});
  std::vector<Tensor> deepstack;
  for (size_t j = 0; !audio && j < towers_.vision->num_deepstack(); ++j) {
    deepstack.push_back(ctx.workspace.tensor({total, width}));
  }
  if (audio) {
    run_audio(ctx, items, rows, probe);
  } else {
    run_vision(ctx, items, rows, deepstack, probe);
  }
  int64_t begin = 0;
  for (MediaState* item : items) {
    const int64_t end = begin + item->input.rows(config_);
    const auto keep = [&](const Tensor& from) {
      const Tensor to = Tensor::empty({end - begin, width});
      ops::copy(ctx, from.slice(begin, end), to);
      return to;
    };
    auto encoded = std::make_shared<EncodedMedia>();
    encoded->embeds = keep(rows);
    for (const Tensor& features : deepstack) encoded->deepstack.push_back(keep(features));
    cache_.insert(item->input.hash, encoded);
    item->encoded = std::move(encoded);
    begin = end;
  }
}

void MediaEncoder::run_audio(OpContext& ctx, std::span<MediaState* const> items, const Tensor& rows,
                             const Probe& probe) const {
  std::vector<Tensor> mels;
  for (const MediaState* item : items) mels.push_back(item->input.features);
  towers_.audio->forward(ctx, mels, rows, probe);
}

void MediaEncoder::run_vision(OpContext& ctx, std::span<MediaState* const> items,
                              const Tensor& rows, std::span<const Tensor> deepstack,
                              const Probe& probe) const {
  std::vector<VisionTower::Item> patches;
  for (const MediaState* item : items) {
    patches.push_back({item->input.features, item->input.grid_thw});
  }
  const VisionTower::Output out{rows, {deepstack.begin(), deepstack.end()}};
  towers_.vision->forward(ctx, patches, out, kind_name(items.front()->input.kind), probe);
}

}  // namespace tutti::qwen3_omni_moe
