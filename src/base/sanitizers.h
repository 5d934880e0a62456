// TUTTI_SANITIZED: 1 in builds whose memory is AddressSanitizer's or ThreadSanitizer's, which own
// the allocator, map terabytes, and keep what was freed or accessed; else 0.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TUTTI_SANITIZED 1
#endif
#endif
#ifndef TUTTI_SANITIZED
#define TUTTI_SANITIZED 0
#endif
