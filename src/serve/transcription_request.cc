#include "serve/transcription_request.h"

namespace tutti::serve {

AddRequest transcription_request(const ModelInfo& model, std::string id,
                                 std::shared_ptr<const std::vector<std::byte>> sound,
                                 const std::string& prompt) {
  ChatPrompt chat;
  if (!prompt.empty()) chat.messages.push_back(ChatMessage::text("system", prompt));
  ChatMessage question;
  question.role = "user";
  MediaItem audio;
  audio.kind = MediaKind::kAudio;
  audio.bytes = std::move(sound);
  question.content.push_back({"", std::move(audio)});
  question.content.push_back({"Transcribe the audio.", std::nullopt});
  chat.messages.push_back(std::move(question));
  AddRequest request;
  request.request_id = std::move(id);
  request.prompt = std::move(chat);
  request.final_output_stage_ids = {model.text_stage()};
  request.sampling_params_list = model.engine().default_sampling_params_list();
  return request;
}

}  // namespace tutti::serve
