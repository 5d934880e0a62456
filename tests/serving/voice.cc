#include "voice.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

namespace tutti::testing {

std::string voice(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const size_t data = file.find("data");
  if (data == std::string::npos) return {};
  std::vector<int16_t> samples((file.size() - data - 8) / 2);
  std::memcpy(samples.data(), file.data() + data + 8, 2 * samples.size());
  std::string out;
  // Two samples become three, in straight lines.
  const auto put = [&](int value) {
    const auto sample = static_cast<int16_t>(value);
    out.append(reinterpret_cast<const char*>(&sample), sizeof(sample));
  };
  for (size_t i = 0; i + 2 < samples.size(); i += 2) {
    put(samples[i]);
    put((samples[i] + 2 * samples[i + 1]) / 3);
    put((2 * samples[i + 1] + samples[i + 2]) / 3);
  }
  return out;
}

std::string quiet(int ms) { return std::string(kVoiceBytesPerMs * static_cast<size_t>(ms), '\0'); }

}  // namespace tutti::testing
