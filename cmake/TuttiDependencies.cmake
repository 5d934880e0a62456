# Libraries from Debian 12; each has its reason in docs/dependencies.md.
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(yaml-cpp REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(SNDFILE REQUIRED IMPORTED_TARGET sndfile)
pkg_check_modules(AACENC REQUIRED IMPORTED_TARGET vo-aacenc)
find_package(simdjson REQUIRED)
find_package(CLI11 REQUIRED)
if(TUTTI_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
if(TUTTI_BUILD_BENCH)
  find_package(benchmark REQUIRED)
endif()
# Unicode normalization and case mapping of the tokenizer (libutf8proc-dev): 0.3 MB, where ICU brings 30.
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
# Sound and pictures in: mp3, resampling, the mel transform (header only), png, jpeg, webp, gif.
pkg_check_modules(MPG123 REQUIRED IMPORTED_TARGET libmpg123)
pkg_check_modules(SOXR REQUIRED IMPORTED_TARGET soxr)
find_path(KISSFFT_INCLUDE_DIR kissfft/kissfft.hh REQUIRED)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp libwebpdemux)
pkg_check_modules(GIF REQUIRED IMPORTED_TARGET libgif)
# Content hashes of media (XXH3, header only).
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
# Containers (mp4, webm, ...), in the worker process alone.
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libavutil libswscale)
# Media behind https:// URLs, with Boost.Beast.
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
