// How long a step may be for the sake of those who wait for the next one, and how many frames leave
// at once for a listener who has plenty.
#include <algorithm>

#include "engine/ar/ar_engine.h"
#include "engine/ar/step_order.h"

namespace tutti::ar {

// A long prompt is computed in parts, so that others wait for one of them at most: a listener for
// half a frame, a reader for a blink. Alone it is cut too, since an abort waits for the step that
// runs. The results are the same however it is cut.
int64_t ArEngine::most_prompt_tokens() const {
  constexpr double kBesideListener_s = 0.04, kBesideReader_s = 0.1, kAlone_s = 1;
  constexpr int64_t kLeast = 16, kGuess = 32;
  const bool heard = executor_.has_listeners();
  if (prompt_token_s_ == 0) return heard ? kGuess : options_.max_num_batched_tokens;
  const double part_s = heard                      ? kBesideListener_s
                        : scheduler_.has_decodes() ? kBesideReader_s
                                                   : kAlone_s;
  // The largest is compared as a number of tokens: cheap ones would not fit into an integer.
  const double tokens = std::min<double>(part_s / prompt_token_s_, options_.max_num_batched_tokens);
  return std::max(kLeast, static_cast<int64_t>(tokens));
}

// From steps that are mostly prompt; a running average over the last few.
void ArEngine::learn_prompt_cost() {
  constexpr int64_t kLeastTokens = 16;
  constexpr double kNewShare = 0.25;
  const auto items = static_cast<int64_t>(scheduled_.size());
  if (!step_error_.ok() || batch_.num_tokens() < kLeastTokens || batch_.num_tokens() < 2 * items)
    return;
  const double cost = step_s_ / static_cast<double>(batch_.num_tokens());
  prompt_token_s_ =
      prompt_token_s_ == 0 ? cost : prompt_token_s_ + kNewShare * (cost - prompt_token_s_);
}

// Every message to the next stage takes a core from the step that runs, so frames that nobody needs
// yet wait for more of them.
bool ArEngine::gathers(Sequence& sequence, const StageOutput& output) {
  if (!is_heard() || !sequence.request.streams_payload) return false;
  const int64_t frames = sequence.held.num_tokens() + std::ssize(output.delta.token_ids);
  const bool waits = group_leaves_at(sequence, frames, model_->info().frame_s) > outputs_.now();
  if (waits && !is_gathering(sequence)) gathering_.push_back(&sequence);
  return waits;
}

TimePoint ArEngine::wake_at() const {
  TimePoint at = TimePoint::max();
  for (const Sequence* sequence : resting_) at = std::min(at, sequence->rests_till);
  for (const Sequence* sequence : gathering_) {
    at = std::min(at,
                  group_leaves_at(*sequence, sequence->held.num_tokens(), model_->info().frame_s));
  }
  return at;
}

// Those whose next frame did not come in time to take them along.
void ArEngine::release_due(std::vector<StageOutput>& outputs) {
  if (gathering_.empty()) return;
  const TimePoint now = outputs_.now();
  std::erase_if(gathering_, [&](Sequence* sequence) {
    const int64_t frames = sequence->held.num_tokens();
    if (group_leaves_at(*sequence, frames, model_->info().frame_s) > now) return false;
    outputs.push_back(outputs_.rest(*sequence));
    return true;
  });
}

// A talker that takes each text token as it comes makes the device change between two models at
// every token, each driving the other's weights out of the caches. While its listener has plenty it
// lets some tokens come, and then makes all their frames.
void ArEngine::rest_if_out_of_input(Sequence& sequence) {
  // Half of what the listener has still to hear, and never the last of it.
  constexpr double kShareOfLead = 0.5;
  constexpr Duration kReserve = std::chrono::milliseconds(60);
  const auto newest = std::ssize(sequence.generated) - 1;
  if (!is_heard() || !sequence.request.streams_payload ||
      model_->input_ready(*sequence.model, newest))
    return;
  const TimePoint now = outputs_.now();
  const Duration lead = sequence.due - now;
  const Duration rest = std::min(lead - kReserve, from_seconds(kShareOfLead * to_seconds(lead)));
  if (rest <= Duration::zero()) return;
  sequence.rests = true;
  sequence.rests_till = now + rest;
  resting_.push_back(&sequence);
}

void ArEngine::end_rest_if_fed(Sequence& sequence) {
  constexpr int64_t kTokensAtOnce = 8;
  const auto newest = std::ssize(sequence.generated) - 1;
  if (!sequence.rests || !model_->input_ready(*sequence.model, newest + kTokensAtOnce - 1)) return;
  sequence.rests = false;
  std::erase(resting_, &sequence);
}

void ArEngine::end_rests() {
  if (resting_.empty()) return;
  const TimePoint now = outputs_.now();
  std::erase_if(resting_, [&](Sequence* sequence) {
    sequence->rests = sequence->rests_till > now;
    return !sequence->rests;
  });
}

}  // namespace tutti::ar
