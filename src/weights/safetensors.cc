#include "weights/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>

namespace tutti {

namespace json = boost::json;

namespace {

// The format's own limit, so that a corrupt length does not make us parse gigabytes.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

std::string tensor_in(std::string_view name, const std::filesystem::path& path) {
  return "Tensor '" + std::string(name) + "' in " + quoted(path);
}

// Non-negative integer, or none.
std::optional<uint64_t> as_size(const json::value& value) {
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<uint64_t>(value.get_int64());
  if (value.is_uint64()) return value.get_uint64();
  return std::nullopt;
}

// Product of dims and element size, or none on overflow.
std::optional<uint64_t> byte_size(const Shape& shape, DType dtype) {
  uint64_t n = dtype_bytes(dtype);
  for (int64_t d : shape.dims()) {
    if (__builtin_mul_overflow(n, static_cast<uint64_t>(d), &n)) return std::nullopt;
  }
  return n;
}

}  // namespace

Result<std::shared_ptr<Storage>> map_file(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return not_found("Cannot open " + quoted(path) + ": " + std::strerror(errno) + ".");
  }
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid_argument(quoted(path) + " is not a regular file.");
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) {
    ::close(fd);
    return invalid_argument(quoted(path) + " is empty.");
  }
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  ::close(fd);
  if (data == MAP_FAILED) {
    return internal_error("Cannot map " + quoted(path) + ": " + std::strerror(error) + ".");
  }
  return std::make_shared<Storage>(data, size, Device{}, [size](void* p) { ::munmap(p, size); });
}

Result<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::open(
    const std::filesystem::path& path) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile());
  file->path_ = path;
  TUTTI_ASSIGN_OR_RETURN(file->storage_, map_file(path));
  TUTTI_RETURN_IF_ERROR(file->read_header());
  return std::shared_ptr<const SafetensorsFile>(std::move(file));
}

Status SafetensorsFile::read_header() {
  const size_t size = storage_->bytes();
  if (size < 8) {
    return invalid_argument(quoted(path_) +
                            " is truncated: a safetensors file starts with 8 bytes " +
                            "of header length, found " + std::to_string(size) + " bytes.");
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, storage_->data(), 8);
  if (header_bytes > kMaxHeaderBytes) {
    return invalid_argument(quoted(path_) + " is not a safetensors file: its header length is " +
                            std::to_string(header_bytes) + ", allowed are at most " +
                            std::to_string(kMaxHeaderBytes) + " bytes.");
  }
  if (header_bytes > size - 8) {
    return invalid_argument(quoted(path_) + " is truncated: its header needs " +
                            std::to_string(header_bytes + 8) + " bytes, found " +
                            std::to_string(size) + ".");
  }
  const std::string_view text(reinterpret_cast<const char*>(storage_->data()) + 8, header_bytes);
  boost::system::error_code error;
  const json::value header = json::parse(text, error);
  if (error || !header.is_object()) {
    return invalid_argument(quoted(path_) + " is corrupt: its header is not a JSON object" +
                            (error ? " (" + error.message() + ")." : "."));
  }
  const size_t data_begin = 8 + header_bytes;
  for (const auto& [name, value] : header.get_object()) {
    if (name == "__metadata__") continue;
    TUTTI_RETURN_IF_ERROR(read_entry(name, &value, data_begin));
  }
  return check_layout(data_begin);
}

Status SafetensorsFile::read_entry(std::string_view name, const void* json_value,
                                   size_t data_begin) {
  const auto& value = *static_cast<const json::value*>(json_value);
  const auto corrupt = [&](const std::string& what) {
    return invalid_argument(tensor_in(name, path_) + " is corrupt: " + what);
  };
  const json::object* object = value.if_object();
  const json::value* dtype = object ? object->if_contains("dtype") : nullptr;
  const json::value* shape = object ? object->if_contains("shape") : nullptr;
  const json::value* offsets = object ? object->if_contains("data_offsets") : nullptr;
  if (!dtype || !dtype->is_string() || !shape || !shape->is_array() || !offsets ||
      !offsets->is_array() || offsets->get_array().size() != 2) {
    return corrupt("expected dtype, shape and two data_offsets, found " + json::serialize(value) +
                   ".");
  }
  SafetensorsEntry entry;
  const std::string_view dtype_text = dtype->get_string();
  const std::optional<DType> known = parse_dtype(dtype_text);
  if (!known) {
    return invalid_argument(tensor_in(name, path_) + " has dtype " + std::string(dtype_text) +
                            "; supported are F32, BF16, F16, F64, I64, I32, I16, I8, U8 and BOOL.");
  }
  entry.dtype = *known;
  if (shape->get_array().size() > static_cast<size_t>(Shape::kMaxRank)) {
    return corrupt("it has " + std::to_string(shape->get_array().size()) +
                   " dimensions, allowed are at most " + std::to_string(Shape::kMaxRank) + ".");
  }
  std::vector<int64_t> dims;
  for (const json::value& d : shape->get_array()) {
    const auto n = as_size(d);
    if (!n || *n > static_cast<uint64_t>(INT64_MAX)) {
      return corrupt("its shape is " + json::serialize(*shape) + ".");
    }
    dims.push_back(static_cast<int64_t>(*n));
  }
  entry.shape = Shape(std::span<const int64_t>(dims));
  const auto begin = as_size(offsets->get_array()[0]);
  const auto end = as_size(offsets->get_array()[1]);
  const auto expected = byte_size(entry.shape, entry.dtype);
  if (!begin || !end || *end < *begin || !expected) {
    return corrupt("its data_offsets are " + json::serialize(*offsets) + ".");
  }
  if (*end - *begin != *expected) {
    return corrupt("shape " + entry.shape.to_string() + " in " + std::string(dtype_text) +
                   " needs " + std::to_string(*expected) + " bytes, found " +
                   std::to_string(*end - *begin) + ".");
  }
  const size_t data_bytes = storage_->bytes() - data_begin;
  if (*end > data_bytes) {
    return invalid_argument(quoted(path_) + " is truncated: tensor '" + std::string(name) +
                            "' ends at byte " + std::to_string(*end) + " of the data, found " +
                            std::to_string(data_bytes) + " bytes.");
  }
  entry.begin = data_begin + *begin;
  entry.end = data_begin + *end;
  entries_.emplace(name, entry);
  return Status();
}

Status SafetensorsFile::check_layout(size_t data_begin) const {
  std::vector<std::pair<const std::string*, const SafetensorsEntry*>> order;
  for (const auto& [name, entry] : entries_) order.emplace_back(&name, &entry);
  std::ranges::sort(order, [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  size_t at = data_begin;
  for (const auto& [name, entry] : order) {
    if (entry->begin != at) {
      return invalid_argument(
          tensor_in(*name, path_) + " is corrupt: its data should begin at byte " +
          std::to_string(at) + " of the file, found " + std::to_string(entry->begin) +
          (entry->begin < at ? " (tensors overlap)." : " (bytes of no tensor)."));
    }
    at = entry->end;
  }
  if (at != storage_->bytes()) {
    return invalid_argument(quoted(path_) + " is corrupt: its tensors end at byte " +
                            std::to_string(at) + ", the file at byte " +
                            std::to_string(storage_->bytes()) + ".");
  }
  return Status();
}

Tensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
  return Tensor(storage_, entry.begin, entry.dtype, entry.shape);
}

bool SafetensorsFile::is_aligned(const SafetensorsEntry& entry) const {
  return reinterpret_cast<uintptr_t>(bytes(entry)) % dtype_bytes(entry.dtype) == 0;
}

const std::byte* SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  return storage_->data() + entry.begin;
}

}  // namespace tutti
