#include "models/qwen3_omni_moe/media_positions.h"

#include <algorithm>
#include <array>

namespace tutti::qwen3_omni_moe {

namespace {

using Position = std::array<float, 3>;  // temporal, height, width

// Positions in the order of the prompt; `next` is where the following piece starts.
class Layout {
 public:
  Layout(size_t length, float start) : length_(length), next_(start) {}

  float next() const { return next_; }
  size_t size() const { return positions_.size(); }
  // A piece of consecutive positions.
  void add(std::span<const Position> piece) {
    if (piece.empty()) return;
    float largest = 0;
    for (const Position& p : piece) largest = std::max(largest, *std::ranges::max_element(p));
    positions_.insert(positions_.end(), piece.begin(), piece.end());
    next_ = largest + 1;
  }
  void add_text(int64_t count) { add(run(count)); }
  // `count` positions from the start of the next piece.
  std::vector<Position> run(int64_t count) const {
    std::vector<Position> piece;
    for (int64_t i = 0; i < count; ++i) {
      const float at = static_cast<float>(i) + next_;
      piece.push_back({at, at, at});
    }
    return piece;
  }

  RopeIndex finish() && {
    if (positions_.size() < length_) {
      add_text(static_cast<int64_t>(length_ - positions_.size()));
    }
    positions_.resize(length_);
    std::vector<float> axes(3 * length_);
    float largest = 0;
    for (size_t i = 0; i < length_; ++i) {
      for (size_t axis = 0; axis < 3; ++axis) {
        axes[axis * length_ + i] = positions_[i][axis];
        largest = std::max(largest, positions_[i][axis]);
      }
    }
    const float delta = largest + 1 - static_cast<float>(length_);
    return {std::move(axes), static_cast<int64_t>(length_), delta};
  }

 private:
  size_t length_;
  std::vector<Position> positions_;
  float next_;
};

// Merge squares of a picture or clip, frame after frame.
std::vector<Position> squares(const ThinkerConfig& config, const MediaInput& item, float start) {
  const int64_t merge = config.vision->spatial_merge_size;
  const float per_grid =
      item.kind == MediaKind::kVideo ? static_cast<float>(item.second_per_grid) : 1.0f;
  const auto per_second = static_cast<float>(config.position_id_per_seconds);
  std::vector<Position> out;
  for (int64_t t = 0; t < item.grid_thw[0]; ++t) {
    const float time = static_cast<float>(t) * per_grid * per_second;
    for (int64_t h = 0; h < item.grid_thw[1] / merge; ++h) {
      for (int64_t w = 0; w < item.grid_thw[2] / merge; ++w) {
        out.push_back({time + start, static_cast<float>(h) + start, static_cast<float>(w) + start});
      }
    }
  }
  return out;
}

class Walker {
 public:
  Walker(const ThinkerConfig& config, std::span<const int32_t> ids, const PromptMedia& media,
         float start)
      : config_(config), ids_(ids), layout_(ids.size(), start) {
    for (const MediaInput& item : media.items) of(item.kind).items.push_back(&item);
    count_starts(media.audio_in_video);
  }

  RopeIndex walk() && {
    for (int64_t i = 0; i < pieces_; ++i) {
      if (!next_piece()) break;
    }
    return std::move(layout_).finish();
  }

 private:
  struct Kind {
    std::vector<const MediaInput*> items;
    size_t used = 0;
    int64_t remaining = 0;  // starts in the prompt that are still to come
  };
  Kind& of(MediaKind kind) { return kinds_[static_cast<size_t>(kind)]; }

  void count_starts(bool audio_in_video) {
    const int64_t video_mark =
        audio_in_video ? config_.audio_start_token_id : config_.video_token_id;
    for (size_t i = 0; i < ids_.size(); ++i) {
      if (config_.audio && ids_[i] == config_.audio_start_token_id)
        ++of(MediaKind::kAudio).remaining;
      if (ids_[i] != config_.vision_start_token_id || i + 1 == ids_.size()) continue;
      if (ids_[i + 1] == config_.image_token_id) ++of(MediaKind::kImage).remaining;
      if (ids_[i + 1] == video_mark) ++of(MediaKind::kVideo).remaining;
    }
    pieces_ = of(MediaKind::kImage).remaining + of(MediaKind::kAudio).remaining;
    if (!audio_in_video) pieces_ += of(MediaKind::kVideo).remaining;
  }

  // The next occurrence of a start token, or past the end.
  size_t find(int64_t id, bool wanted) const {
    if (!wanted || at_ > ids_.size()) return ids_.size() + 1;
    const auto it = std::find(ids_.begin() + static_cast<int64_t>(at_), ids_.end(), id);
    return it == ids_.end() ? ids_.size() + 1 : static_cast<size_t>(it - ids_.begin());
  }

  const MediaInput* take(MediaKind kind) {
    Kind& k = of(kind);
    --k.remaining;
    return k.used < k.items.size() ? k.items[k.used++] : nullptr;
  }

  // Text up to the next item, its start tokens, the item, its end tokens.
  bool next_piece() {
    const size_t vision =
        find(config_.vision_start_token_id,
             of(MediaKind::kVideo).remaining > 0 || of(MediaKind::kImage).remaining > 0);
    const size_t audio = find(config_.audio_start_token_id, of(MediaKind::kAudio).remaining > 0);
    const size_t start = std::min(vision, audio);
    if (start + 1 >= ids_.size()) return false;
    const bool with_sound = start == vision && vision + 1 == audio;
    const int64_t marks = with_sound ? 2 : 1;
    const auto text = static_cast<int64_t>(start - at_);
    layout_.add_text(text);
    layout_.add_text(marks);
    const size_t before = layout_.size();
    if (!add_item(start, audio, with_sound)) return false;
    at_ += static_cast<size_t>(text + 2 * marks) + layout_.size() - before;
    layout_.add_text(marks);
    return true;
  }

  bool add_item(size_t start, size_t audio, bool with_sound) {
    if (start == audio) {
      const MediaInput* sound = take(MediaKind::kAudio);
      if (sound == nullptr) return false;
      layout_.add_text(sound->rows(config_));
      return true;
    }
    if (with_sound) {
      const MediaInput* clip = take(MediaKind::kVideo);
      const MediaInput* sound = take(MediaKind::kAudio);
      if (clip == nullptr || sound == nullptr) return false;
      add_merged(*clip, *sound);
      return true;
    }
    const bool image = ids_[start + 1] == config_.image_token_id;
    if (!image && ids_[start + 1] != config_.video_token_id) return false;
    const MediaInput* item = take(image ? MediaKind::kImage : MediaKind::kVideo);
    if (item == nullptr) return false;
    layout_.add(squares(config_, *item, layout_.next()));
    return true;
  }

  // Frames and sound by time; equal times: the frame first.
  void add_merged(const MediaInput& clip, const MediaInput& sound) {
    const std::vector<Position> seen = squares(config_, clip, layout_.next());
    const std::vector<Position> heard = layout_.run(sound.rows(config_));
    size_t s = 0, h = 0;
    while (s < seen.size() && h < heard.size()) {
      layout_.add({seen[s][0] <= heard[h][0] ? &seen[s++] : &heard[h++], 1});
    }
    layout_.add(std::span(seen).subspan(s));
    layout_.add(std::span(heard).subspan(h));
  }

  const ThinkerConfig& config_;
  std::span<const int32_t> ids_;
  Layout layout_;
  std::array<Kind, 3> kinds_;
  int64_t pieces_ = 0;
  size_t at_ = 0;  // of the text that has not been laid out
};

}  // namespace

RopeIndex media_positions(const ThinkerConfig& config, std::span<const int32_t> ids,
                          const PromptMedia& media, float start) {
  const bool sees = std::ranges::any_of(
      media.items, [](const MediaInput& item) { return item.kind != MediaKind::kAudio; });
  if (!sees && start == 0) return {};
  return Walker(config, ids, media, start).walk();
}

}  // namespace tutti::qwen3_omni_moe
