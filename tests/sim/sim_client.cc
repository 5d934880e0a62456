#include "sim/sim_client.h"

#include <utility>

namespace tutti::sim {

SimStageClient::SimStageClient(Setup setup)
    : setup_(std::move(setup)), mailbox_(setup_.mailbox_capacity) {
  mailbox_.on_room([this] { post(RoomEvent{}); });
}

bool SimStageClient::try_send(StageCommand& command) {
  return mailbox_.try_push(std::move(command)) != QueueResult::kFull;
}

void SimStageClient::load() {
  const bool entry = setup_.graph->spec(setup_.stage.value).sources.empty();
  core_ = std::make_unique<ReplicaCore>(
      setup_.stage, setup_.replica, setup_.graph,
      std::make_unique<fake::FakeStageEngine>(setup_.stage.value, entry, setup_.engine));
  post(ReadyEvent{});
}

void SimStageClient::apply(StageCommand command, std::vector<StageOutput>& outputs) {
  if (std::holds_alternative<AbortCommand>(command) && setup_.strikes(Bug::kLostAbort)) return;
  if (auto* chunk = std::get_if<ChunkCommand>(&command)) {
    if (!delayed_ && !chunk->complete && setup_.strikes(Bug::kWrongOrder)) {
      delayed_ = std::move(*chunk);
      return;
    }
    // The end of the sequence's input stays its end.
    if (delayed_ && delayed_->key == chunk->key) {
      delayed_->complete = std::exchange(chunk->complete, false);
      delayed_->chunk.last = std::exchange(chunk->chunk.last, false);
      core_->apply(std::move(command), outputs);
      core_->apply(std::move(*std::exchange(delayed_, std::nullopt)), outputs);
      return;
    }
  }
  core_->apply(std::move(command), outputs);
}

void SimStageClient::take(int64_t count) {
  std::vector<StageOutput> outputs;
  for (; core_ && count > 0; --count) {
    auto command = mailbox_.try_pop();
    if (!command) break;
    apply(std::move(*command), outputs);
  }
  answer(std::move(outputs));
}

void SimStageClient::step() {
  std::vector<StageOutput> outputs;
  const Status status = core_->step(outputs);
  answer(std::move(outputs));
  if (!status.ok()) die(status);
}

void SimStageClient::answer(std::vector<StageOutput> outputs) {
  if (!outputs.empty()) post(OutputsEvent{std::move(outputs)});
  if (!core_) return;
  for (CommandAnswer& one : core_->take_answers()) {
    std::visit([&](auto& event) { post(std::move(event)); }, one);
  }
}

void SimStageClient::die(const Status& cause) {
  post(DiedEvent{cause});
  stop();
}

void SimStageClient::stop() {
  over_ = true;
  core_.reset();
  mailbox_.close();
  while (mailbox_.try_pop()) {
  }
}

}  // namespace tutti::sim
