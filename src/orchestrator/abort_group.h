// AbortGroup: one abort_async() whose requests the orchestrator gets to know at different times:
// their results together, in the order of the call.
//
// Thread: any. Invariants: `done` is called once, when the last part has ended.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tutti/async_omni_engine.h"

namespace tutti {

class AbortGroup {
 public:
  using Results = Result<std::vector<AbortResult>>;

  explicit AbortGroup(std::function<void(Results)> done) : done_(std::move(done)) {}

  // Begins a part, to be ended by one end() with its number. Before the call's own part ends.
  size_t begin() {
    const std::lock_guard lock(mutex_);
    parts_.push_back(std::vector<AbortResult>());
    ++open_;
    return parts_.size() - 1;
  }
  void end(size_t part, Results results) {
    {
      const std::lock_guard lock(mutex_);
      parts_[part] = std::move(results);
      if (--open_ > 0) return;
    }
    std::vector<AbortResult> all;
    for (Results& one : parts_) {
      if (!one) return done_(std::move(one).error());
      for (AbortResult& result : *one) all.push_back(std::move(result));
    }
    done_(std::move(all));
  }

 private:
  const std::function<void(Results)> done_;
  std::mutex mutex_;
  std::vector<Results> parts_;  // guarded by mutex_, as all below
  size_t open_ = 0;
};

}  // namespace tutti
