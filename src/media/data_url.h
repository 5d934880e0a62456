// data: URLs (RFC 2397) and base64 to bytes.
//
// Thread: free functions, any thread. Errors are sentences without the item's name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

namespace tutti {

// The scheme of "scheme://..." or "data:...", in lower case; empty for a path.
std::string url_scheme(std::string_view path_or_url);
// Both alphabets of RFC 4648, with or without padding. Error: a wrong character.
Result<std::vector<std::byte>> decode_base64(std::string_view text);
// Only base64 data; the declared type is ignored, since decoders look at the content. Errors: no
// base64 data URL, a wrong character, more than max_bytes.
Result<std::vector<std::byte>> decode_data_url(std::string_view url, int64_t max_bytes);

}  // namespace tutti
