// SimWorld: what the caller reads, and what must hold.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sim/sim_log.h"
#include "sim/sim_world.h"

namespace tutti::sim {

SimWorld::Client* SimWorld::find_client(RequestKey key) {
  if (key.value >= client_of_.size() || client_of_[key.value] < 0) return nullptr;
  return &clients_[static_cast<size_t>(client_of_[key.value])];
}

bool SimWorld::has_fault(const Client& client) const {
  return client.fault_stage >= 0 && graph_->needed_for(client.wanted)[client.fault_stage];
}

bool SimWorld::may_end_early(const Client& client) const {
  const int32_t stage = client.early_stage;
  return stage >= 0 && graph_->needed_for(client.wanted)[stage] &&
         graph_->spec(stage).sources.empty();
}

SimWorld::Answer& SimWorld::answer_of(Client& client, int32_t stage, int32_t segment) {
  for (Answer& answer : client.answers) {
    if (answer.stage == stage && answer.segment == segment) return answer;
  }
  client.answers.push_back({.stage = stage, .segment = segment, .tokens = {}, .text = {}});
  return client.answers.back();
}

void SimWorld::read(int64_t count) {
  for (; count > 0; --count) {
    auto message = outputs_->try_pop();
    if (!message) return;
    const auto* output = std::get_if<OutputMessage>(&*message);
    const bool terminal = output && output->finished;
    if (terminal && strikes(Bug::kDoubleTerminal)) take_message(*message);
    if (terminal && strikes(Bug::kLeakedBinding)) pools_[0]->replica(ReplicaId(0)).bind();
    take_message(std::move(*message));
  }
}

void SimWorld::take_message(EngineMessage message) {
  const std::string& id =
      std::visit([](auto& m) -> const std::string& { return m.request_id; }, message);
  const auto found = client_named_.find(id);
  if (found == client_named_.end()) return violation(fmt::format("a message for unknown '{}'", id));
  Client& client = clients_[static_cast<size_t>(found->second)];
  if (client.ended) return violation(id + " got a message after its terminal one");
  if (const auto* error = std::get_if<ErrorMessage>(&message)) {
    take_error(client, *error);
  } else if (const auto* output = std::get_if<OutputMessage>(&message)) {
    take_output(client, *output);
  } else {
    const int32_t stage = std::get<StageMetricsMessage>(message).stage_id;
    if (std::count(client.metrics_of.begin(), client.metrics_of.end(), stage)) {
      violation(fmt::format("{} ended twice in stage {}", id, stage));
    }
    client.metrics_of.push_back(stage);
  }
}

void SimWorld::take_error(Client& client, const ErrorMessage& message) {
  const std::string& text = message.error.message();
  bool expected = has_fault(client);
  switch (message.error.code()) {
    case StatusCode::kOk:
      expected = false;
      break;
    case StatusCode::kDeadlineExceeded:
      expected |= client.deadline <= clock_.now();
      ++stats_.overdue;
      break;
    case StatusCode::kUnavailable:
      expected |= stats_.deaths > 0 || removals_ || client.rank;
      if (text.find("has died") != std::string::npos && !client.emitted &&
          client.retries < options_.max_retries) {
        violation(client.id + " was not retried though nothing had been delivered");
      }
      break;
    case StatusCode::kResourceExhausted:
      expected |= client.resumable;
      break;
    default:
      break;
  }
  if (!expected) violation(fmt::format("{} failed for nothing: {}", client.id, text));
  ++stats_.failed;
  end(client, "failed");
}

void SimWorld::take_output(Client& client, const OutputMessage& message) {
  const int32_t stage = message.stage_id;
  const bool aborted = message.output.finish_reason == FinishReason::kAbort;
  if (!std::count(client.wanted.begin(), client.wanted.end(), stage)) {
    return violation(fmt::format("{} got output of stage {}, not asked for", client.id, stage));
  }
  for (const Answer& other : client.answers) {
    if (other.stage == stage && other.segment > message.segment && !aborted) {
      return violation(
          fmt::format("{} got segment {} after {}", client.id, message.segment, other.segment));
    }
  }
  Answer& answer = answer_of(client, stage, message.segment);
  const bool empty = message.output.token_ids.empty() && message.output.audio.samples.empty();
  if (answer.ended && !empty) {
    return violation(fmt::format("{} got output of stage {} after its end", client.id, stage));
  }
  answer.tokens.insert(answer.tokens.end(), message.output.token_ids.begin(),
                       message.output.token_ids.end());
  answer.text += message.output.text;
  answer.samples += static_cast<int64_t>(message.output.audio.samples.size());
  answer.ended |= message.output.finish_reason != FinishReason::kNone;
  if (!message.finished) return;
  if (aborted) {
    if (!aborted_.contains(client.key) && !shutting_down_)
      violation(client.id + " was aborted for nothing");
    ++stats_.aborted;
    return end(client, "aborted");
  }
  // The limit of audio may end a session before its last segment.
  if (!client.input_complete && options_.max_audio_s == 0) {
    if (!may_end_early(client)) violation(client.id + " finished before its last segment");
    ++stats_.early;
  }
  if (has_fault(client) && client.fault != fake::Fault::kAppendThrow && options_.max_audio_s == 0 &&
      client.tokens.size() == 1) {
    violation(client.id + " finished in spite of its fault");
  }
  check_content(client);
  ++stats_.finished;
  end(client, "finished");
}

void SimWorld::end(Client& client, const char* how) {
  log("{} {}", client.id, how);
  client.ended = true;
  client.answers.clear();
}

void SimWorld::check_content(const Client& client) {
  for (const int32_t stage : client.wanted) {
    for (size_t i = 0; i < client.tokens.size(); ++i) {
      check_answer(client, stage, static_cast<int32_t>(i));
    }
  }
  if (client.companions.empty() || client.tokens[0] == 0 || options_.max_audio_s > 0) return;
  const auto needed = graph_->needed_for(client.wanted);
  for (int32_t s = 0; s < graph_->size(); ++s) {
    const auto& sources = graph_->spec(s).sources;
    const bool fed = std::any_of(sources.begin(), sources.end(),
                                 [&](int32_t from) { return graph_->spec(from).sources.empty(); });
    if (needed[s] && fed &&
        !std::count(client.companions_in.begin(), client.companions_in.end(), s)) {
      violation(fmt::format("stage {} of {} ended without its companions", s, client.id));
    }
  }
}

void SimWorld::check_answer(const Client& client, int32_t stage, int32_t segment) {
  auto expected = fake::expected_tokens(*graph_, stage, client.key,
                                        client.tokens[static_cast<size_t>(segment)], segment);
  const auto found = std::find_if(client.answers.begin(), client.answers.end(), [&](auto& answer) {
    return answer.stage == stage && answer.segment == segment;
  });
  static const Answer kNothing;
  const Answer& answer = found == client.answers.end() ? kNothing : *found;
  std::vector<int32_t> got = answer.tokens;
  for (size_t i = 0; i < answer.text.size(); ++i) {
    if (i >= got.size() || answer.text[i] != 'a' + got[i] % 26) {
      return violation(fmt::format("{} has mixed text and tokens in stage {}", client.id, stage));
    }
  }
  const bool early = may_end_early(client) && segment > client.early_segment;
  const bool limited = options_.max_audio_s > 0 || early;
  // Only the order within one source is promised.
  if (graph_->spec(stage).sources.size() > 1) {
    std::sort(expected.begin(), expected.end());
    std::sort(got.begin(), got.end());
    if (limited && std::includes(expected.begin(), expected.end(), got.begin(), got.end())) return;
  } else if (limited && got.size() <= expected.size()) {
    expected.resize(got.size());
  }
  if (got != expected) {
    return violation(
        fmt::format("{} has other tokens than its own in stage {}, segment {}: {} of "
                    "{}",
                    client.id, stage, segment, got.size(), expected.size()));
  }
  // At the limit of audio the stages behind end without a word.
  if (!expected.empty() && !answer.ended && !limited) {
    violation(fmt::format("{} finished before stage {}", client.id, stage));
  }
}

void SimWorld::check_admission(const StageRequest& request, int32_t stage) {
  const Client& client = *find_client(request.key);
  if (!graph_->needed_for(client.wanted)[stage]) {
    violation(fmt::format("{} ran in a stage nobody asked for", request.request_id));
  }
  if (client.id != request.request_id ||
      request.seed != seed_of(client.key, stage, request.segment)) {
    violation(fmt::format("{} has another's name or seed in stage {}", request.request_id, stage));
  }
}

void SimWorld::check_companions(RequestKey key, int32_t stage, const std::vector<int32_t>& got) {
  Client& client = *find_client(key);
  std::vector<int32_t> expected;
  for (const int32_t source : graph_->spec(stage).sources) {
    if (!graph_->spec(source).sources.empty()) continue;
    for (const RequestKey companion : client.companions) {
      for (int64_t i = 0; i < client.tokens[0]; ++i) {
        expected.push_back(fake::source_token(companion, i));
      }
    }
  }
  std::vector<int32_t> sorted = got;
  std::sort(sorted.begin(), sorted.end());
  std::sort(expected.begin(), expected.end());
  if (sorted != expected) {
    violation(fmt::format("{} has other companions than its own in stage {}: {} of {} tokens",
                          client.id, stage, got.size(), expected.size()));
  }
  client.companions_in.push_back(stage);
}

void SimWorld::read_answers(int64_t count) {
  for (; count > 0; --count) {
    const auto answer = answers_->try_pop();
    if (!answer) return;
    take_answer(*answer);
  }
}

void SimWorld::take_answer(const RpcOutput& answer) {
  const uint64_t ticket = std::visit([](const auto& a) { return a.ticket; }, answer);
  const auto found = calls_.find(ticket);
  if (found == calls_.end()) return violation(fmt::format("an answer to no call: {}", ticket));
  ++stats_.calls;
  if (const auto* rpc = std::get_if<RpcAnswer>(&answer)) check_rpc(*rpc);
  if (std::holds_alternative<AbortAnswer>(answer)) {
    for (const RequestKey key : found->second.keys) {
      const bool own = find_client(key) && find_client(key)->key == key;
      if (own && orchestrator_->find(key)) {
        violation(fmt::format("r{} lives after its abort was acknowledged", key.value));
      }
    }
  }
  calls_.erase(found);
}

void SimWorld::check_rpc(const RpcAnswer& answer) {
  const Call& call = calls_.at(answer.ticket);
  const auto order = [](const RpcResult& a, const RpcResult& b) {
    return std::pair(a.stage_id, a.replica_id) < std::pair(b.stage_id, b.replica_id);
  };
  if (!std::is_sorted(answer.results.begin(), answer.results.end(), order)) {
    violation("results of a control method are out of order");
  }
  if (answer.status.code() == StatusCode::kDeadlineExceeded && call.deadline > clock_.now()) {
    violation("a control method gave up before its deadline");
  }
  if (answer.status.ok() && answer.results.empty()) violation("a control method has no results");
}

void SimWorld::check() {
  if (!shutting_down_ && outputs_->size() > outputs_->capacity()) {
    violation("the output queue is over its capacity");
  }
  const size_t busy = orchestrator_->live_requests() - orchestrator_->resting_sessions();
  const auto places = static_cast<size_t>(options_.max_live_requests);
  if (busy > places) violation("too many live requests");
  const bool readers_behind = orchestrator_->waiting_outputs() > 0;
  if (busy < places && requests_->size() > 0 && mailbox_.empty() && !readers_behind) {
    violation("a request waits beside a free place");
  }
  if (stats_.events % 64 == 0) check_bindings();
}

void SimWorld::check_bindings() {
  std::vector<std::array<int64_t, StagePool::kMaxReplicas>> bound(
      static_cast<size_t>(graph_->size()));
  size_t live = 0, messages = 0;
  const auto binds = [](StageProgress::State state) {
    return state == StageProgress::State::kRunning || state == StageProgress::State::kReleasing;
  };
  std::erase_if(
      open_, [&](RequestKey key) { return find_client(key)->ended && !orchestrator_->find(key); });
  for (const RequestKey key : open_) {
    const Client& client = *find_client(key);
    const RequestProgress* progress = orchestrator_->find(key);
    messages += (2 * static_cast<size_t>(graph_->size()) + 1) * client.tokens.size();
    if (!progress) continue;
    ++live;
    if (client.ended && progress->ending != Ending::kSaid) {
      violation(client.id + " lives after its terminal message");
    }
    for (int32_t s = 0; s < graph_->size(); ++s) {
      const StageProgress& at = progress->stages[s];
      bound[s][at.replica.value] += binds(at.state);
      for (const CompanionProgress& companion : progress->companions) {
        bound[s][at.replica.value] += binds(companion.stages[s]);
      }
    }
  }
  if (live != orchestrator_->live_requests()) violation("an unknown request lives");
  if (orchestrator_->waiting_outputs() > messages) violation("waiting outputs are not merged");
  for (int32_t s = 0; s < graph_->size(); ++s) {
    for (int32_t r = 0; r < pools_[s]->size(); ++r) {
      const int64_t counted = pools_[s]->replica(ReplicaId(r)).outstanding();
      if (counted != bound[s][r]) {
        violation(fmt::format("replica {}-{} counts {} sequences, bound are {}", s, r, counted,
                              bound[s][r]));
      }
    }
  }
}

void SimWorld::check_end() {
  check_bindings();
  for (const RequestKey key : open_) {
    const Client& client = *find_client(key);
    violation(client.id + (client.ended ? " lives on" : " never got a terminal message"));
  }
  for (const auto& [ticket, call] : calls_) violation(fmt::format("call {} has no answer", ticket));
  if (orchestrator_->live_requests() != 0) violation("requests live after the end");
  if (orchestrator_->waiting_outputs() != 0) violation("outputs wait after the end");
  if (orchestrator_->open_calls() != 0) violation("control calls are open after the end");
  // After a shutdown the replicas end with all they hold.
  if (shutting_down_) return;
  if (orchestrator_->timers() != 0) violation("timers are set after the end");
  if (orchestrator_->resting_sessions() != 0) violation("sessions rest after the end");
  if (orchestrator_->early_updates() != 0) violation("updates wait after the end");
  for (const SimStageClient* replica : replicas_) {
    if (replica->stats().running == 0) continue;
    violation(fmt::format("replica {}-{} keeps {} sequences", replica->stage().value,
                          replica->replica().value, replica->stats().running));
  }
  for (int32_t s = 0; s < graph_->size(); ++s) {
    for (int32_t r = 0; r < pools_[s]->size(); ++r) {
      const StageReplica& replica = pools_[s]->replica(ReplicaId(r));
      if (replica.waiting_commands() != 0) violation("commands wait after the end");
      const ReplicaState state = replica.state();
      if (state == ReplicaState::kReady || state == ReplicaState::kRemoved) continue;
      violation(fmt::format("replica {}-{} is {} at the end", s, r, replica_state_name(state)));
    }
  }
}

}  // namespace tutti::sim
