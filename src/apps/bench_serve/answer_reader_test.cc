#include "apps/bench_serve/answer_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "media/audio_encoder.h"
#include "serve/json_text.h"

namespace tutti::bench {
namespace {

using ::testing::HasSubstr;

std::string sound_base64() {
  std::string out;
  const std::string pcm = pcm16(std::vector<float>(480, 0.5f));  // 20 ms
  serve::append_base64(out, std::as_bytes(std::span(pcm)));
  return out;
}

// Feeds the body in two pieces, at 1 s and at 2 s.
Status read(std::string_view type, std::string_view body, size_t cut, Measurement& m) {
  auto reader = make_answer_reader(type);
  if (!reader.ok()) return reader.error();
  m.begin(0);
  TUTTI_RETURN_IF_ERROR((*reader)->feed(body.substr(0, cut), 1, m));
  return (*reader)->feed(body.substr(cut), 2, m);
}

const std::string kEvents = "text/event-stream; charset=utf-8";

TEST(AnswerReader, ReadsAChatWithSpeechWhereverItIsCut) {
  const std::string body =
      R"(data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})"
      "\n\n"
      R"(data: {"choices":[{"index":0,"delta":{"content":"Hi","audio":{"transcript":"Hi"}}}]})"
      "\n\n"
      R"(data: {"choices":[{"index":0,"delta":{"audio":{"data":")" +
      sound_base64() +
      R"("}}}]})"
      "\n\n"
      R"(data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7,)"
      R"("completion_tokens_details":{"audio_tokens":4}}})"
      "\n\ndata: [DONE]\n\n";
  for (size_t cut = 0; cut <= body.size(); ++cut) {
    Measurement m;
    ASSERT_TRUE(read(kEvents, body, cut, m).ok()) << cut;
    m.end(3);
    const RequestRecord& r = m.record();
    EXPECT_TRUE(r.ttft_s == 1 || r.ttft_s == 2) << cut;
    EXPECT_TRUE(r.itls_s.empty());
    EXPECT_GE(r.ttfa_s, r.ttft_s);
    EXPECT_NEAR(r.audio_s, 0.02, 1e-9);
    EXPECT_EQ(r.input_tokens, 9);
    EXPECT_EQ(r.output_tokens, 3);
  }
}

TEST(AnswerReader, ReadsOtherShapes) {
  Measurement completion;
  ASSERT_TRUE(read(kEvents, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n", 0, completion).ok());
  EXPECT_EQ(completion.record().ttft_s, 2);
  Measurement omni;  // vLLM-Omni's
  ASSERT_TRUE(read(kEvents,
                   R"(data: {"modality":"audio","sample_rate":12000,"choices":[{"delta":)"
                   R"({"content":")" +
                       sound_base64() + "\"}}]}\n\n",
                   0, omni)
                  .ok());
  EXPECT_NEAR(omni.record().audio_s, 0.04, 1e-9);
  EXPECT_EQ(omni.record().ttft_s, -1);
  Measurement speech;
  ASSERT_TRUE(read(kEvents,
                   R"(data: {"type":"speech.audio.delta","audio":")" + sound_base64() + "\"}\n\n",
                   0, speech)
                  .ok());
  EXPECT_NEAR(speech.record().audio_s, 0.02, 1e-9);
  Measurement body;
  ASSERT_TRUE(read("audio/pcm", std::string(480, 'x'), 7, body).ok());
  EXPECT_NEAR(body.record().audio_s, 0.01, 1e-9);
}

TEST(AnswerReader, ErrorsAreTheServersOwn) {
  Measurement m;
  EXPECT_THAT(read(kEvents, "event: error\ndata: {\"error\":{\"message\":\"No room.\"}}\n\n", 0, m)
                  .message(),
              HasSubstr("No room."));
  EXPECT_THAT(read(kEvents, "data: oops\n\n", 0, m).message(), HasSubstr("no JSON"));
  EXPECT_THAT(read("audio/mpeg", "", 0, m).message(), HasSubstr("'audio/mpeg'"));
  EXPECT_EQ(error_sentence("{\"message\":\"Gone.\"}"), "Gone.");
  EXPECT_EQ(error_sentence("Bad Gateway"), "Bad Gateway");
}

TEST(AnswerReader, ReadsARealtimeAnswer) {
  Measurement m;
  m.begin(0);
  RealtimeReader reader;
  using Event = RealtimeReader::Event;
  EXPECT_EQ(reader.read(R"({"type":"session.updated"})", 0, m).value(), Event::kSessionUpdated);
  EXPECT_EQ(reader.read(R"({"type":"response.output_audio_transcript.delta","delta":"Hi"})", 1, m)
                .value(),
            Event::kOther);
  EXPECT_EQ(
      reader
          .read(R"({"type":"response.output_audio.delta","delta":")" + sound_base64() + "\"}", 2, m)
          .value(),
      Event::kOther);
  EXPECT_EQ(reader
                .read(R"({"type":"response.done","response":{"status":"completed",)"
                      R"("usage":{"input_tokens":5}}})",
                      3, m)
                .value(),
            Event::kDone);
  EXPECT_EQ(m.record().ttft_s, 1);
  EXPECT_EQ(m.record().ttfa_s, 2);
  EXPECT_EQ(m.record().input_tokens, 5);
  EXPECT_THAT(reader.read(R"({"type":"error","error":{"message":"No such event."}})", 4, m)
                  .error()
                  .message(),
              HasSubstr("No such event."));
  EXPECT_THAT(reader
                  .read(R"({"type":"response.done","response":{"status":"failed","status_details":)"
                        R"({"type":"failed","error":{"message":"Full."}}}})",
                        5, m)
                  .error()
                  .message(),
              HasSubstr("Full."));
}

}  // namespace
}  // namespace tutti::bench
