#include "engine/ar/lora_store.h"

#include <gmock/gmock.h>

#include "weights/lora_test_util.h"

namespace tutti::ar {
namespace {

using ::testing::HasSubstr;

class LoraStoreTest : public ::testing::Test {
 protected:
  LoraStoreTest() {
    targets_.own_prefix = targets_.default_prefix = "thinker.";
    targets_.add("thinker.lm_head", 3, 2);
    testing::NamedTensors tensors;
    testing::add_module(tensors, "lm_head", Tensor::zeros({1, 2}), Tensor::zeros({3, 1}));
    testing::write_adapter(folder_, testing::peft_config(1, 1), tensors);
  }
  std::string control(const std::string& method, const std::string& name, bool with_path = true) {
    std::string args = R"({"lora_name":")" + name + "\"";
    if (with_path) args += R"(,"lora_path":")" + folder_.path().string() + "\"";
    const auto result = store_.control(method, args + "}");
    if (!result) return "unknown method";
    return result->ok() ? result->value() : result->error().message();
  }
  // The same adapter elsewhere.
  std::string copy_adapter() {
    const std::filesystem::path copy = folder_.path() / "copy";
    std::filesystem::create_directory(copy);
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
      std::filesystem::copy_file(folder_.path() / file, copy / file);
    }
    return copy;
  }
  std::string add(const std::string& name) { return control("add_lora", name); }
  std::vector<std::string> names() {
    std::vector<std::string> found;
    std::string list = store_.control("list_loras", "")->value();
    for (size_t at = 0; (at = list.find("\"lora_name\":\"", at)) != std::string::npos;) {
      at += 13;
      found.push_back(list.substr(at, list.find('"', at) - at));
    }
    return found;
  }
  using Names = std::vector<std::string>;

  testing::TempFolder folder_;
  LoraTargets targets_;
  LoraStore store_{targets_, 2, 8};
};

TEST_F(LoraStoreTest, TheOneNotUsedForLongestGoes) {
  EXPECT_EQ(add("a"), "true");
  EXPECT_EQ(add("b"), "true");
  ASSERT_TRUE(store_.use("a", "").ok());
  EXPECT_EQ(add("c"), "true");
  EXPECT_EQ(names(), (Names{"a", "c"}));
  EXPECT_THAT(store_.use("b", "").error().message(),
              HasSubstr("There is no adapter 'b'; loaded are: 'a', 'c'."));
  // With its path it comes back.
  ASSERT_TRUE(store_.use("b", folder_.path()).ok());
  EXPECT_EQ(names(), (Names{"c", "b"}));
}

TEST_F(LoraStoreTest, PinnedOnesAndThoseInUseStay) {
  add("a");
  add("b");
  EXPECT_EQ(control("pin_lora", "a", false), "true");
  auto held = store_.use("b", "").value();
  EXPECT_THAT(add("c"), HasSubstr("All 2 places for adapters are taken"));
  EXPECT_EQ(names(), (Names{"a", "b"}));
  EXPECT_GT(store_.add("c", folder_.path()).retry_after_s(), 0) << "b's request will end";
  held.reset();
  EXPECT_EQ(add("c"), "true");
  EXPECT_EQ(names(), (Names{"a", "c"}));
}

TEST_F(LoraStoreTest, WherePinnedOnesHaveAllPlacesWaitingIsNoUse) {
  add("a");
  add("b");
  EXPECT_EQ(control("pin_lora", "a", false), "true");
  EXPECT_EQ(control("pin_lora", "b", false), "true");
  const Status full = store_.add("c", folder_.path());
  EXPECT_THAT(full.message(), HasSubstr("All 2 places for adapters are taken"));
  EXPECT_EQ(full.retry_after_s(), 0);
}

TEST_F(LoraStoreTest, ARemovedOneLivesUntilItsLastUser) {
  add("a");
  add("b");
  auto held = store_.use("a", "").value();
  EXPECT_EQ(control("remove_lora", "a", false), "true");
  EXPECT_EQ(names(), (Names{"b"}));
  EXPECT_FALSE(held->empty());
  // It still takes its place: b has to go for c, and nothing can for a further one in use.
  auto other = store_.use("b", "").value();
  EXPECT_THAT(add("c"), HasSubstr("All 2 places"));
  held.reset();
  EXPECT_EQ(add("c"), "true");
}

// Issue 4: requests went on with whatever had their adapter's name by then.
TEST_F(LoraStoreTest, ARequestKeepsTheAdapterThatItWasAcceptedWith) {
  const std::string copy = copy_adapter();
  add("a");
  const auto first = store_.use("a", folder_.path()).value();
  EXPECT_EQ(control("remove_lora", "a", false), "true");
  ASSERT_TRUE(store_.add("a", copy).ok());
  EXPECT_EQ(store_.use("a", folder_.path()).value(), first) << "it is still in memory";
  const auto second = store_.use("a", copy).value();
  EXPECT_NE(second, first);
  EXPECT_EQ(store_.use("a", "").value(), second);
}

TEST_F(LoraStoreTest, ARequestOfARemovedAdapterDoesNotTakeTheName) {
  const std::string copy = copy_adapter();
  add("a");
  EXPECT_EQ(control("remove_lora", "a", false), "true");
  auto late = store_.use("a", folder_.path()).value();
  ASSERT_TRUE(store_.add("a", copy).ok());
  const auto owner = store_.use("a", copy).value();
  EXPECT_NE(owner, late);
  // Read again for a late request, beside the name's owner, and gone with it.
  late.reset();
  late = store_.use("a", folder_.path()).value();
  EXPECT_EQ(names(), (Names{"a"}));
  EXPECT_THAT(add("b"), HasSubstr("All 2 places")) << "a late one takes a place, too";
}

TEST_F(LoraStoreTest, AnAdapterLargerThanTheMemoryIsRefused) {
  const std::string copy = copy_adapter();
  // A hole: no disk is this large either.
  std::filesystem::resize_file(copy + "/adapter_model.safetensors", uintmax_t{1} << 43);
  const Status refused = store_.add("a", copy);
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr("may need 17.6 TB; available are"));
}

TEST_F(LoraStoreTest, WrongCalls) {
  add("a");
  EXPECT_EQ(add("a"), "true") << "the same again";
  EXPECT_THAT(store_.add("a", "/elsewhere").message(), HasSubstr("has been loaded from '"));
  EXPECT_THAT(control("add_lora", "b", false), HasSubstr("`lora_path` is empty"));
  EXPECT_THAT(add(""), HasSubstr("`lora_name` is empty"));
  EXPECT_THAT(control("pin_lora", "x"), HasSubstr("There is no adapter 'x'"));
  EXPECT_THAT(control("remove_lora", "x"), HasSubstr("There is no adapter 'x'"));
  EXPECT_THAT(store_.control("add_lora", "[]")->error().message(), HasSubstr("not a JSON object"));
  EXPECT_THAT(store_.control("add_lora", R"({"lora_name":3})")->error().message(),
              HasSubstr("`lora_name` is 3; it must be a string."));
  EXPECT_EQ(control("sing", "a"), "unknown method");
  EXPECT_EQ(names(), (Names{"a"})) << "failed calls change nothing";
}

TEST_F(LoraStoreTest, AModelWithoutMapsTakesNone) {
  const LoraTargets none;
  LoraStore store(none, 2, 8);
  EXPECT_EQ(store.add("a", folder_.path()).code(), StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace tutti::ar
