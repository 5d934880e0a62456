// What the media tests share: making small files of every kind in memory, and breaking them.
#pragma once

#include <sndfile.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <numbers>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tutti::media_test {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
  Bytes out(text.size());
  std::memcpy(out.data(), text.data(), text.size());
  return out;
}

inline Bytes concat(const Bytes& a, std::string_view b) {
  Bytes out = a;
  const Bytes tail = bytes_of(b);
  out.insert(out.end(), tail.begin(), tail.end());
  return out;
}

inline std::string little(uint64_t value, size_t width) {
  std::string out;
  for (size_t i = 0; i < width; ++i) out += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  return out;
}

inline Bytes prefix_of(const Bytes& bytes, size_t count) {
  return Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
}

inline std::vector<float> sine(double hz, int rate, size_t count, double amplitude = 0.5) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) {
    const double phase = 2 * std::numbers::pi * hz * static_cast<double>(i) / rate;
    out[i] = static_cast<float>(amplitude * std::sin(phase));
  }
  return out;
}

// A growing buffer as libsndfile's virtual file.
struct GrowingFile {
  Bytes bytes;
  sf_count_t at = 0;

  static GrowingFile& of(void* user) { return *static_cast<GrowingFile*>(user); }
  static sf_count_t length(void* user) { return static_cast<sf_count_t>(of(user).bytes.size()); }
  static sf_count_t seek(sf_count_t offset, int whence, void* user) {
    GrowingFile& file = of(user);
    file.at = offset + (whence == SEEK_CUR ? file.at : whence == SEEK_END ? length(user) : 0);
    return file.at;
  }
  static sf_count_t read(void* to, sf_count_t count, void* user) {
    GrowingFile& file = of(user);
    const sf_count_t got = std::min(count, length(user) - file.at);
    std::memcpy(to, file.bytes.data() + file.at, static_cast<size_t>(got));
    file.at += got;
    return got;
  }
  static sf_count_t write(const void* from, sf_count_t count, void* user) {
    GrowingFile& file = of(user);
    const auto end = static_cast<size_t>(file.at + count);
    if (file.bytes.size() < end) file.bytes.resize(end);
    std::memcpy(file.bytes.data() + file.at, from, static_cast<size_t>(count));
    file.at += count;
    return count;
  }
  static sf_count_t tell(void* user) { return of(user).at; }
};

// Interleaved samples as a sound file of libsndfile's `format`; empty when it cannot.
inline Bytes encode_sound(int format, int rate, int channels, std::span<const float> samples) {
  SF_VIRTUAL_IO io = {GrowingFile::length, GrowingFile::seek, GrowingFile::read, GrowingFile::write,
                      GrowingFile::tell};
  GrowingFile memory;
  SF_INFO info = {};
  info.samplerate = rate;
  info.channels = channels;
  info.format = format;
  SNDFILE* file = sf_open_virtual(&io, SFM_WRITE, &info, &memory);
  if (file == nullptr) return {};
  sf_writef_float(file, samples.data(), static_cast<sf_count_t>(samples.size()) / channels);
  sf_close(file);
  return memory.bytes;
}

// Calls `visit` with prefixes of the file and with copies that have one bit flipped, about
// `most` of each, spread over the whole file; the first 64 bytes get every one.
template <typename Visit>
void for_each_broken(const Bytes& whole, size_t most, Visit visit) {
  const size_t step = std::max<size_t>(whole.size() / most, 1);
  const auto next = [&](size_t i) { return i < 64 ? i + 1 : i + step; };
  for (size_t count = 0; count < whole.size(); count = next(count)) visit(prefix_of(whole, count));
  for (size_t i = 0; i < whole.size(); i = next(i)) {
    for (int bit = 0; bit < 8; bit += i < 64 ? 1 : 3) {
      Bytes flipped = whole;
      flipped[i] ^= static_cast<std::byte>(1 << bit);
      visit(flipped);
    }
  }
}

}  // namespace tutti::media_test
