// Player: plays WAV files through the system's own player where a sound device exists. Sound is an
// extra: whatever goes wrong here goes unsaid.
//
// Thread: one caller at a time. Ownership: the running player program, ended by the destructor.
#pragma once

#include <sys/types.h>

#include <string>

namespace tutti::cli {

class Player {
 public:
  // Looks for a sound server or device and for pw-play, paplay or aplay; without both, or when not
  // `wanted`, play() does nothing.
  explicit Player(bool wanted);
  ~Player();
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;

  // Starts playing and returns at once; what played before is cut off.
  void play(const std::string& path);
  void stop();

 private:
  std::string program_;  // empty: no sound here
  pid_t child_ = -1;
};

}  // namespace tutti::cli
