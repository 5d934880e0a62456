// LoadingBar: one line of progress on stderr while a model loads, redrawn in place on a terminal.
//
// Thread: update() from any thread (stages load in parallel).
#pragma once

#include <map>
#include <mutex>
#include <string>

namespace tutti::cli {

// "[######..................]  25 %"
std::string progress_bar(double fraction);

class LoadingBar {
 public:
  explicit LoadingBar(bool quiet);
  void update(const std::string& stage, double fraction, const std::string& what);
  // Ends the line; after success prints each stage's last word ("1.2 GB in 0.8 s (1.5 GB/s)").
  void finish(bool success);

 private:
  struct Stage {
    double fraction = 0;
    std::string what;
  };
  void draw() const;

  const bool quiet_;
  const bool terminal_;
  std::mutex mutex_;
  std::map<std::string, Stage> stages_;
};

}  // namespace tutti::cli
