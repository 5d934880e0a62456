// StageState: what callers have asked a stage to be: paused, asleep, with adapters, recorded. Its
// replicas only hold it; this is what brings a new or restarted one to it.
//
// Thread: the orchestrator's. Invariants: at most max_loras adapters, as in each replica; the
// oldest that is not pinned goes first.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "stages/stage_client.h"

namespace tutti {

class StageState {
 public:
  explicit StageState(size_t max_loras) : max_loras_(max_loras) {}

  // Whether the method changes what replicas are, not only what they have or tell.
  static bool changes(const std::string& method);

  // Replicas are told to: what none of them may refuse, and sleep, which undo_sleep() takes back.
  void asked(const std::string& method, const std::string& args_json);
  // A replica has done it: what others may have refused. Whether it holds for later replicas.
  bool done(const std::string& method, const std::string& args_json);
  void set_sleep_level(int level) { sleep_level_ = level; }

  bool paused() const { return paused_; }
  int sleep_level() const { return sleep_level_; }
  // From a replica that has just been loaded to this state. Without tickets: nobody waits for the
  // answers.
  std::vector<RpcCommand> for_new_replica() const;
  // The same from any state.
  std::vector<RpcCommand> for_any_replica() const;
  // Behind wake_up from a level that had given the adapters back.
  std::vector<RpcCommand> adapters() const;

 private:
  struct Adapter {
    std::string name;
    std::string add_args;
    bool pinned = false;
  };
  void add(const std::string& name, const std::string& args_json);

  const size_t max_loras_;
  bool paused_ = false;
  int sleep_level_ = 0;
  std::optional<std::string> profile_args_;
  std::vector<Adapter> adapters_;  // in the order of their adding
};

}  // namespace tutti
