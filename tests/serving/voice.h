// Speech of the tests' data as /v1/realtime takes it.
#pragma once

#include <string>

namespace tutti::testing {

// Little-endian 16-bit samples at 24000 Hz of a WAV file of 16-bit samples at 16000 Hz.
std::string voice(const std::string& path);
// So many milliseconds of quiet.
std::string quiet(int ms);
constexpr size_t kVoiceBytesPerMs = 48;

}  // namespace tutti::testing
