#include "apps/parity/case_prompt.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>

#include "media/audio_file.h"
#include "media/clip.h"
#include "media/image_file.h"

namespace tutti::parity {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr int32_t kSoundRate = 16000;  // Hz, of the stored sound of clips

std::string text_of(const json::value& part, std::string_view key) {
  return std::string(part.at(key).as_string());
}

Result<Tensor> read_frames(const fs::path& dir) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) files.push_back(entry.path());
  if (files.empty()) return not_found("'" + dir.string() + "' has no frames.");
  std::ranges::sort(files);
  std::vector<Tensor> frames;
  for (const fs::path& file : files) {
    TUTTI_ASSIGN_OR_RETURN(frames.emplace_back(), read_image(file.string()));
  }
  const Shape& one = frames.front().shape();
  const auto count = static_cast<int64_t>(frames.size());
  const Tensor all = Tensor::empty({count, one[0], one[1], one[2]}, DType::kU8);
  for (int64_t i = 0; i < count; ++i) {
    if (frames[i].shape() != one) return invalid_argument("The frames of a clip differ in size.");
    std::memcpy(all.select(i).raw_data(), frames[i].raw_data(), frames[i].bytes());
  }
  return all;
}

Result<std::shared_ptr<const Clip>> read_clip(const json::value& part, const json::value& settings,
                                              const fs::path& media) {
  auto clip = std::make_shared<Clip>();
  TUTTI_ASSIGN_OR_RETURN(clip->frames, read_frames(media / text_of(part, "frames")));
  TUTTI_ASSIGN_OR_RETURN(clip->samples,
                         read_audio((media / text_of(part, "frames_audio")).string(), kSoundRate));
  if (const auto* options = settings.if_object()) {
    clip->fps = options->at("fps").to_number<double>();
    if (const auto* size = options->if_contains("size")) {
      clip->min_pixels = size->at("shortest_edge").to_number<int64_t>();
      clip->max_pixels = size->at("longest_edge").to_number<int64_t>();
    }
  }
  return std::shared_ptr<const Clip>(std::move(clip));
}

Result<ContentPart> read_part(const json::value& part, const json::value& settings,
                              const fs::path& media) {
  const std::string type = text_of(part, "type");
  if (type == "text") return ContentPart{text_of(part, "text"), {}};
  MediaItem item;
  if (type == "video") {
    item.kind = MediaKind::kVideo;
    TUTTI_ASSIGN_OR_RETURN(item.clip, read_clip(part, settings, media));
  } else {
    item = MediaItem::file(type == "audio" ? MediaKind::kAudio : MediaKind::kImage,
                           (media / text_of(part, type)).string());
  }
  return ContentPart{"", std::move(item)};
}

}  // namespace

Result<ChatPrompt> case_prompt(const json::object& info, const fs::path& media) {
  ChatPrompt prompt;
  const json::value* with_sound = info.if_contains("use_audio_in_video");
  prompt.use_audio_in_video = with_sound != nullptr && with_sound->as_bool();
  const json::value* found = info.if_contains("videos_kwargs");
  const json::value settings = found != nullptr ? *found : json::value();
  for (const json::value& message : info.at("messages").as_array()) {
    ChatMessage& out = prompt.messages.emplace_back();
    out.role = text_of(message, "role");
    const json::value& content = message.at("content");
    if (content.is_string()) {
      out.content.push_back({std::string(content.get_string()), {}});
      continue;
    }
    for (const json::value& part : content.as_array()) {
      TUTTI_ASSIGN_OR_RETURN(out.content.emplace_back(), read_part(part, settings, media));
    }
  }
  return prompt;
}

}  // namespace tutti::parity
