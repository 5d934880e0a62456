#include "orchestrator/output_buffer.h"

#include <iterator>
#include <utility>

namespace tutti {
namespace {

template <typename T>
void append(std::vector<T>& to, std::vector<T> from) {
  if (to.empty()) {
    to = std::move(from);
  } else {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  }
}

}  // namespace

void merge_output(OutputMessage& message, OutputMessage more) {
  StageOutputDelta& delta = message.output;
  delta.text += more.output.text;
  append(delta.token_ids, std::move(more.output.token_ids));
  append(delta.logprobs, std::move(more.output.logprobs));
  append(delta.audio.samples, std::move(more.output.audio.samples));
  if (more.output.audio.sample_rate != 0) delta.audio.sample_rate = more.output.audio.sample_rate;
  if (more.output.finish_reason != FinishReason::kNone) {
    delta.finish_reason = more.output.finish_reason;
    delta.stop_reason = std::move(more.output.stop_reason);
  }
  message.metrics = more.metrics;
  message.finished |= more.finished;
}

void OutputBuffer::emit(RequestKey key, EngineMessage message) {
  if (observer_) observer_(key, message);
  if (waiting_.empty() && queue_.try_push(std::move(message)) == QueueResult::kOk) return;
  auto* output = std::get_if<OutputMessage>(&message);
  if (!output) {
    wait(key, std::move(message));
    return;
  }
  const Slot slot{key, output->stage_id};
  const auto found = mergeable_.find(slot);
  // Answers of different segments stay apart; only the last of them can still grow.
  if (found == mergeable_.end() ||
      std::get<OutputMessage>(found->second->message).segment != output->segment) {
    wait(key, std::move(message));
    mergeable_.insert_or_assign(slot, std::prev(waiting_.end()));
    return;
  }
  const bool terminal = output->finished;
  merge_output(std::get<OutputMessage>(found->second->message), std::move(*output));
  // Everything else of the request that waits must go first.
  if (terminal) waiting_.splice(waiting_.end(), waiting_, found->second);
}

void OutputBuffer::wait(RequestKey key, EngineMessage message) {
  waiting_.push_back({key, std::move(message)});
  ++requests_[key];
}

void OutputBuffer::pop_front() {
  const auto of = requests_.find(waiting_.front().key);
  if (--of->second == 0) requests_.erase(of);
  waiting_.pop_front();
}

void OutputBuffer::forget_front() {
  const Waiting& front = waiting_.front();
  const auto* output = std::get_if<OutputMessage>(&front.message);
  if (!output) return;
  const auto found = mergeable_.find({front.key, output->stage_id});
  if (found != mergeable_.end() && found->second == waiting_.begin()) mergeable_.erase(found);
}

void OutputBuffer::flush() {
  while (!waiting_.empty()) {
    forget_front();
    if (queue_.try_push(std::move(waiting_.front().message)) != QueueResult::kOk) {
      // Where a later segment waits too, that one stays the mergeable one.
      if (const auto* output = std::get_if<OutputMessage>(&waiting_.front().message)) {
        mergeable_.emplace(Slot{waiting_.front().key, output->stage_id}, waiting_.begin());
      }
      return;
    }
    pop_front();
  }
}

void OutputBuffer::flush_all() {
  while (!waiting_.empty()) {
    forget_front();
    queue_.force_push(std::move(waiting_.front().message));
    pop_front();
  }
}

}  // namespace tutti
