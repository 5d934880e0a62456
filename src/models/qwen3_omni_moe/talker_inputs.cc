#include "models/qwen3_omni_moe/talker_inputs.h"

#include <algorithm>
#include <array>

namespace tutti::qwen3_omni_moe {

namespace {
// "<|im_start|>", "assistant", "\n"
constexpr size_t kHeaderTokens = 3;
constexpr int kPaddings = 4;
}  // namespace

Status TalkerInputs::append(std::span<const int32_t> thinker_ids, int64_t prompt_length) {
  if (prompt_length >= 0) thinker_prompt_length_ = prompt_length;
  for (int32_t id : thinker_ids) {
    const bool in_prompt = static_cast<int64_t>(prompt_.size()) < thinker_prompt_length_;
    (in_prompt ? prompt_ : words_).push_back(id);
  }
  if (built_ || static_cast<int64_t>(prompt_.size()) != thinker_prompt_length_) return Status();
  built_ = true;
  return build_prompt();
}

Status TalkerInputs::build_prompt() {
  const auto im_start = static_cast<int32_t>(config_->im_start_token_id);
  std::vector<size_t> starts;
  for (size_t i = 0; i < prompt_.size(); ++i) {
    if (prompt_[i] == im_start) starts.push_back(i);
  }
  const size_t answer = starts.empty() ? 0 : starts.back();
  if (starts.empty() || answer + kHeaderTokens > prompt_.size() ||
      prompt_[answer + 1] != config_->assistant_token_id) {
    return invalid_argument(
        "Speech needs a chat prompt that ends with an open assistant part; found none.");
  }
  int32_t media_rows = 0;
  for (size_t s = 0; s + 1 < starts.size(); ++s) {
    const bool spoken_to = prompt_[starts[s] + 1] == config_->user_token_id;
    for (size_t i = starts[s]; i < starts[s + 1]; ++i) {
      const bool media = config_->thinker.is_media_token(prompt_[i]);
      if (spoken_to) rows_.push_back({prompt_[i], -1, media ? media_rows : -1});
      if (!media) continue;
      media_tokens_.push_back({prompt_[i], spoken_to});
      ++media_rows;
    }
  }
  user_rows_ = rows_.size();
  const auto id = [](int64_t token) { return static_cast<int32_t>(token); };
  for (size_t i = 0; i < kHeaderTokens; ++i) rows_.push_back({prompt_[answer + i]});
  const TalkerConfig& t = config_->talker;
  const std::array<int32_t, kPaddings> controls = {id(t.codec_nothink_id), id(t.codec_think_bos_id),
                                                   id(t.codec_think_eos_id), speaker_};
  for (int32_t control : controls) rows_.push_back({id(config_->tts_pad_token_id), control});
  rows_.push_back({id(config_->tts_bos_token_id), id(t.codec_pad_id)});
  // What the prompt already holds of the answer is spoken as well.
  words_.insert(words_.begin(), prompt_.begin() + static_cast<int64_t>(answer + kHeaderTokens),
                prompt_.end());
  return Status();
}

int64_t TalkerInputs::prompt_length() const {
  return built_ && !words_.empty() ? static_cast<int64_t>(rows_.size()) + 1 : -1;
}

bool TalkerInputs::text_ready(int64_t i) const {
  return complete_ || i + 1 < static_cast<int64_t>(words_.size());
}

TalkerInputs::Row TalkerInputs::row(int64_t position) const {
  const auto rows = static_cast<int64_t>(rows_.size());
  if (position < rows) return rows_[position];
  const int64_t word = position - rows;  // the first word is at the prompt's last position
  const auto words = static_cast<int64_t>(words_.size());
  Row row;
  if (word < words) {
    row.text_id = words_[word];
  } else {
    row.text_id =
        static_cast<int32_t>(word == words ? config_->tts_eos_token_id : config_->tts_pad_token_id);
  }
  if (word == 0) row.codec_id = static_cast<int32_t>(config_->talker.codec_bos_id);
  return row;
}

std::vector<int32_t> TalkerInputs::position_ids() const {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < user_rows_; ++i) ids.push_back(rows_[i].text_id);
  ids.resize(rows_.size() + 1, static_cast<int32_t>(config_->tts_pad_token_id));
  return ids;
}

PromptMedia TalkerInputs::kept_media(const PromptMedia& media) const {
  PromptMedia out;
  out.audio_in_video = media.audio_in_video;
  for (const MediaKind kind : {MediaKind::kAudio, MediaKind::kImage, MediaKind::kVideo}) {
    const int64_t id = placeholder_id(config_->thinker, kind);
    auto token = media_tokens_.begin();
    for (const MediaInput& item : media.items) {
      if (item.kind != kind) continue;
      token = std::find_if(token, media_tokens_.end(), [&](MediaToken t) { return t.id == id; });
      if (token == media_tokens_.end()) break;
      if (token->kept) out.items.push_back(item);
      for (int64_t row = item.rows(config_->thinker); row > 0 && token != media_tokens_.end();
           ++token) {
        row -= token->id == id ? 1 : 0;
      }
    }
  }
  return out;
}

}  // namespace tutti::qwen3_omni_moe
