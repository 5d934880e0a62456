#include "apps/tutti/loading_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace tutti::cli {

namespace {
constexpr int kBarWidth = 24;
}

LoadingBar::LoadingBar(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}

void LoadingBar::update(const std::string& stage, double fraction, const std::string& what) {
  if (quiet_) return;
  const std::lock_guard lock(mutex_);
  stages_[stage] = {fraction, what};
  if (terminal_) draw();
}

void LoadingBar::draw() const {
  double sum = 0;
  for (const auto& [name, stage] : stages_) sum += stage.fraction;
  const double fraction = stages_.empty() ? 0 : sum / static_cast<double>(stages_.size());
  const int filled = static_cast<int>(fraction * kBarWidth);
  std::string line = "\rloading [" + std::string(filled, '#') +
                     std::string(kBarWidth - filled, '.') +
                     fmt::format("] {:3.0f} %", 100 * fraction);
  std::fputs(line.c_str(), stderr);
}

void LoadingBar::finish(bool success) {
  if (quiet_) return;
  const std::lock_guard lock(mutex_);
  if (terminal_) std::fputs("\r\033[K", stderr);
  if (!success) return;
  for (const auto& [name, stage] : stages_) {
    std::fputs(fmt::format("{}: {}\n", name, stage.what).c_str(), stderr);
  }
}

}  // namespace tutti::cli
