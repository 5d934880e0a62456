#include "apps/tutti/player.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <sstream>

extern char** environ;

namespace tutti::cli {

namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool has_sound_server() {
  if (!environment("PULSE_SERVER").empty()) return true;
  const fs::path runtime = environment("XDG_RUNTIME_DIR");
  std::error_code error;
  return !runtime.empty() && (fs::exists(runtime / "pulse" / "native", error) ||
                              fs::exists(runtime / "pipewire-0", error));
}

bool has_sound_card() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/dev/snd", error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("pcm") && name.ends_with("p")) return true;  // a playback device
  }
  return false;
}

std::string find_program(const std::string& name) {
  std::istringstream folders(environment("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string path = folder + "/" + name;
    if (!folder.empty() && access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

std::string find_player() {
  if (has_sound_server()) {
    for (const char* name : {"pw-play", "paplay"}) {
      if (std::string path = find_program(name); !path.empty()) return path;
    }
  }
  return has_sound_card() ? find_program("aplay") : "";
}

}  // namespace

Player::Player(bool wanted) : program_(wanted ? find_player() : "") {}

Player::~Player() { stop(); }

void Player::stop() {
  if (child_ < 0) return;
  kill(child_, SIGTERM);
  waitpid(child_, nullptr, 0);
  child_ = -1;
}

void Player::play(const std::string& path) {
  stop();
  if (program_.empty()) return;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&files, stream, "/dev/null", O_RDWR, 0);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A process group of its own: Ctrl-C in the terminal is meant for the chat.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::array<char*, 3> arguments = {program_.data(), const_cast<char*>(path.c_str()), nullptr};
  if (posix_spawn(&child_, program_.c_str(), &files, &attributes, arguments.data(), environ) != 0) {
    child_ = -1;
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
}

}  // namespace tutti::cli
