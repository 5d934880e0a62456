// The sound and picture half of `tutti-parity --frontend DIR`.
#pragma once

#include <filesystem>

namespace tutti::parity {

// Compares and prints one line per tensor. True when everything passed, also when the folder has no
// media tensors.
bool check_frontend_media_files(const std::filesystem::path& dir);

}  // namespace tutti::parity
