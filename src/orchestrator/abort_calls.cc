#include "orchestrator/abort_calls.h"

#include <algorithm>
#include <utility>

namespace tutti {

void AbortCalls::open(uint64_t ticket, size_t count) {
  Call call;
  call.results.resize(count);
  call.left = count;
  if (count == 0) return answer(ticket, std::move(call));
  calls_.emplace(ticket, std::move(call));
}

void AbortCalls::end(uint64_t ticket, size_t index, const AbortResult* result) {
  const auto found = calls_.find(ticket);
  if (found == calls_.end()) return;
  Call& call = found->second;
  if (result) call.results[index] = *result;
  if (--call.left > 0) return;
  Call done = std::move(call);
  calls_.erase(found);
  answer(ticket, std::move(done));
}

void AbortCalls::end_all() {
  std::vector<uint64_t> tickets;
  for (const auto& [ticket, call] : calls_) tickets.push_back(ticket);
  std::sort(tickets.begin(), tickets.end());
  for (const uint64_t ticket : tickets) answer(ticket, std::move(calls_.at(ticket)));
  calls_.clear();
}

void AbortCalls::answer(uint64_t ticket, Call call) {
  AbortAnswer answer{.ticket = ticket, .results = {}};
  for (std::optional<AbortResult>& result : call.results) {
    if (result) answer.results.push_back(std::move(*result));
  }
  answers_.emit(std::move(answer));
}

}  // namespace tutti
