// TalkerInputs: what the talker reads at each position, as ids, built up while the thinker writes.
//
// The talker's prompt is the thinker's without system parts and earlier answers: every user part
// as it is, then the open assistant part: its three header tokens, four paddings, begin-of-text and
// the first word, the last six of them with a codec control token (no-think, think-begin,
// think-end, voice, padding, begin). Each later position carries one codec frame and the next word
// of the answer, then end-of-text, then padding. Source: _get_talker_user_parts and
// _get_talker_assistant_parts of the reference implementation.
// Thread: one owner. Invariants: known positions never change, so a preempted sequence is
// recomputed exactly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/qwen3_omni_moe/prompt_media.h"

namespace tutti::qwen3_omni_moe {

class TalkerInputs {
 public:
  // The text side of a position: a token of the thinker's vocabulary, or a media row; and for
  // prompt positions the codec control token that is added, if any.
  struct Row {
    int32_t text_id = 0;
    int32_t codec_id = -1;   // none
    int32_t media_row = -1;  // of the media rows seen so far, instead of text_id
  };

  // The config outlives this object.
  TalkerInputs(const Config& config, int32_t speaker_id) : config_(&config), speaker_(speaker_id) {}

  // Ids of the thinker's positions in order; the first `prompt_length` of them are its prompt
  // (given once, with the first ids). Error: the prompt does not end in an open assistant part.
  Status append(std::span<const int32_t> thinker_ids, int64_t prompt_length);
  // No ids will follow.
  void complete() { complete_ = true; }

  // Length of the talker's prompt, -1 while the answer's first word is not known.
  int64_t prompt_length() const;
  // The answer ended before its first word.
  bool is_empty() const { return complete_ && words_.empty(); }
  // Whether the text of position prompt_length + i is known.
  bool text_ready(int64_t i) const;
  // Text of position p >= 0; prompt positions with their codec token.
  Row row(int64_t position) const;
  // The thinker's ids of the prompt positions, padding in the assistant part: what positions are
  // computed from.
  std::vector<int32_t> position_ids() const;
  // The media of the thinker's prompt that the talker's prompt has too (none of system parts and
  // earlier answers).
  PromptMedia kept_media(const PromptMedia& media) const;

 private:
  Status build_prompt();

  const Config* config_;
  int32_t speaker_;
  int64_t thinker_prompt_length_ = -1;
  std::vector<int32_t> prompt_;  // the thinker's
  std::vector<int32_t> words_;   // of the answer
  std::vector<Row> rows_;        // of the talker's prompt, but for the first word
  size_t user_rows_ = 0;
  struct MediaToken {
    int32_t id;
    bool kept;
  };
  std::vector<MediaToken> media_tokens_;  // of the thinker's prompt
  bool built_ = false;
  bool complete_ = false;
};

}  // namespace tutti::qwen3_omni_moe
