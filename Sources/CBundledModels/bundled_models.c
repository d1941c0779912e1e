#include "CBundledModels.h"

// The folders Text/ and Embedding/ go into the program as they are, through #embed, which belongs to C23 and which clang also takes as an extension of
// older C. The list is kept by hand: a test compares it with the folders.
#pragma clang diagnostic ignored "-Wc23-extensions"

#define TEXT_MODEL "apus-shakespeare-3m"
#define EMBEDDING_MODEL "apus-shakespeare-embedding-2m"

static const unsigned char text_chat_template_jinja[] = {
#embed "Text/chat_template.jinja"
};
static const unsigned char text_config_json[] = {
#embed "Text/config.json"
};
static const unsigned char text_generation_config_json[] = {
#embed "Text/generation_config.json"
};
static const unsigned char text_model_safetensors[] = {
#embed "Text/model.safetensors"
};
static const unsigned char text_tokenizer_json[] = {
#embed "Text/tokenizer.json"
};
static const unsigned char text_tokenizer_config_json[] = {
#embed "Text/tokenizer_config.json"
};
static const unsigned char embedding_config_json[] = {
#embed "Embedding/config.json"
};
static const unsigned char embedding_config_sentence_transformers_json[] = {
#embed "Embedding/config_sentence_transformers.json"
};
static const unsigned char embedding_model_safetensors[] = {
#embed "Embedding/model.safetensors"
};
static const unsigned char embedding_modules_json[] = {
#embed "Embedding/modules.json"
};
static const unsigned char embedding_sentence_bert_config_json[] = {
#embed "Embedding/sentence_bert_config.json"
};
static const unsigned char embedding_tokenizer_json[] = {
#embed "Embedding/tokenizer.json"
};
static const unsigned char embedding_tokenizer_config_json[] = {
#embed "Embedding/tokenizer_config.json"
};
static const unsigned char embedding_1_pooling_config_json[] = {
#embed "Embedding/1_Pooling/config.json"
};

static const apus_bundled_file files[] = {
    {TEXT_MODEL, "chat_template.jinja", text_chat_template_jinja, sizeof text_chat_template_jinja},
    {TEXT_MODEL, "config.json", text_config_json, sizeof text_config_json},
    {TEXT_MODEL, "generation_config.json", text_generation_config_json, sizeof text_generation_config_json},
    {TEXT_MODEL, "model.safetensors", text_model_safetensors, sizeof text_model_safetensors},
    {TEXT_MODEL, "tokenizer.json", text_tokenizer_json, sizeof text_tokenizer_json},
    {TEXT_MODEL, "tokenizer_config.json", text_tokenizer_config_json, sizeof text_tokenizer_config_json},
    {EMBEDDING_MODEL, "config.json", embedding_config_json, sizeof embedding_config_json},
    {EMBEDDING_MODEL, "config_sentence_transformers.json", embedding_config_sentence_transformers_json, sizeof embedding_config_sentence_transformers_json},
    {EMBEDDING_MODEL, "model.safetensors", embedding_model_safetensors, sizeof embedding_model_safetensors},
    {EMBEDDING_MODEL, "modules.json", embedding_modules_json, sizeof embedding_modules_json},
    {EMBEDDING_MODEL, "sentence_bert_config.json", embedding_sentence_bert_config_json, sizeof embedding_sentence_bert_config_json},
    {EMBEDDING_MODEL, "tokenizer.json", embedding_tokenizer_json, sizeof embedding_tokenizer_json},
    {EMBEDDING_MODEL, "tokenizer_config.json", embedding_tokenizer_config_json, sizeof embedding_tokenizer_config_json},
    {EMBEDDING_MODEL, "1_Pooling/config.json", embedding_1_pooling_config_json, sizeof embedding_1_pooling_config_json},
};

const size_t apus_bundled_file_count = sizeof files / sizeof *files;

const apus_bundled_file *apus_bundled_file_at(size_t index) { return index < apus_bundled_file_count ? &files[index] : NULL; }
