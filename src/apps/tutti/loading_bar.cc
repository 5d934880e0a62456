#include "apps/tutti/loading_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace tutti::cli {

std::string progress_bar(double fraction) {
  constexpr int kWidth = 24;
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kWidth);
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') +
         fmt::format("] {:3.0f} %", 100 * fraction);
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
  const std::string line = "\rloading " + progress_bar(fraction);
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
