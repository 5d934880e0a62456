// Looks at the outer structure of sound files before a decoder sees them, for damage that the
// decoders read over in silence or leak memory on.
//
// Thread: free functions, any thread. The bytes are untrusted.
#pragma once

#include <cstddef>
#include <span>

#include "tutti/status.h"

namespace tutti {

// Error when the data chunk of a WAV file ends past the file, which libsndfile would read as a
// shorter sound. A data size of 2 GiB and more marks a stream of unknown length.
Status check_wav_chunks(std::span<const std::byte> bytes);

// Error when an Ogg page (RFC 3533, section 6) is cut or its checksum is wrong, or when there are
// too few pages for a sound. libsndfile 1.2 leaks memory on Vorbis streams with damaged headers.
Status check_ogg_pages(std::span<const std::byte> bytes);

}  // namespace tutti
