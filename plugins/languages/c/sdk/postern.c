/* See postern.h. */
#include "postern.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

postern_string postern_text(const char *text) {
  postern_string s;
  delivery_agent_string_set(&s, text);
  return s;
}

static void log_line(postern_delivery_agent_host_level_t level, const char *format, va_list list) {
  char line[512];
  vsnprintf(line, sizeof line, format, list);
  postern_string text = postern_text(line);
  postern_delivery_agent_host_log(level, &text);
}

void postern_log_info(const char *format, ...) {
  va_list list;
  va_start(list, format);
  log_line(POSTERN_DELIVERY_AGENT_HOST_LEVEL_INFO, format, list);
  va_end(list);
}

void postern_log_error(const char *format, ...) {
  va_list list;
  va_start(list, format);
  log_line(POSTERN_DELIVERY_AGENT_HOST_LEVEL_ERROR, format, list);
  va_end(list);
}

/* One character of a JSON text that does not begin with its end; how many bytes it takes, 0 when it cannot be read. */
static size_t json_character(const uint8_t *at, size_t left, char *out) {
  if (at[0] != '\\') {
    *out = (char)at[0];
    return 1;
  }
  if (left < 2) return 0;
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *found = memchr(from, at[1], sizeof from - 1);
  if (!found) return 0;
  *out = to[found - from];
  return 2;
}

/* Reads the JSON text whose quotation mark stands at `*at`, leaves `*at` behind it, and says whether it fitted. */
static bool json_text(const postern_string *json, size_t *at, char *value, size_t size) {
  size_t length = 0;
  bool fits = true;
  for (++*at; *at < json->len && json->ptr[*at] != '"';) {
    char c;
    size_t taken = json_character(json->ptr + *at, json->len - *at, &c);
    if (!taken) {
      fits = false;
      taken = 2;
    } else if (length + 1 < size) {
      value[length++] = c;
    } else {
      fits = false;
    }
    *at += taken;
  }
  ++*at;
  if (size) value[length] = 0;
  return fits;
}

static void skip_space(const postern_string *json, size_t *at) {
  while (*at < json->len && strchr(" \t\r\n", json->ptr[*at])) ++*at;
}

bool postern_setting(const char *name, char *value, size_t size) {
  postern_string json;
  postern_delivery_agent_host_settings(&json);
  bool found = false;
  int depth = 0;
  for (size_t at = 0; at < json.len && !found;) {
    uint8_t c = json.ptr[at];
    if (c != '"') {
      depth += (c == '{' || c == '[') - (c == '}' || c == ']');
      ++at;
      continue;
    }
    char key[64];
    bool whole = json_text(&json, &at, key, sizeof key);
    skip_space(&json, &at);
    if (at >= json.len || json.ptr[at] != ':') continue;
    ++at;
    skip_space(&json, &at);
    if (depth == 1 && whole && !strcmp(key, name) && at < json.len && json.ptr[at] == '"')
      found = json_text(&json, &at, value, size);
  }
  delivery_agent_string_free(&json);
  return found;
}

static postern_delivery_agent_types_response_t response(uint16_t code, uint8_t class_, const char *text) {
  postern_delivery_agent_types_response_t made = {.code = code, .status = {class_, 0, 0}};
  delivery_agent_string_dup(&made.text, text);
  return made;
}

postern_outcome postern_delivered(const char *text) {
  postern_outcome made = {.tag = POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_DELIVERED};
  made.val.delivered = response(250, 2, text);
  return made;
}

postern_outcome postern_relayed(const char *text) {
  postern_outcome made = {.tag = POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_RELAYED};
  made.val.relayed = response(250, 2, text);
  return made;
}

static postern_delivery_agent_types_deferral_t deferral(const char *text, const char *failure_class) {
  postern_delivery_agent_types_deferral_t made = {.response = response(451, 4, text)};
  delivery_agent_string_dup(&made.class_, failure_class);
  return made;
}

postern_outcome postern_deferred(const char *text, const char *failure_class, uint32_t retry_after_seconds) {
  postern_outcome made = {.tag = POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_DEFERRED};
  made.val.deferred = deferral(text, failure_class);
  made.val.deferred.retry_after.is_some = retry_after_seconds > 0;
  made.val.deferred.retry_after.val = retry_after_seconds;
  return made;
}

postern_outcome postern_failed(const char *text, const char *failure_class) {
  postern_outcome made = {.tag = POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_FAILED};
  made.val.failed.response = response(550, 5, text);
  delivery_agent_string_dup(&made.val.failed.class_, failure_class);
  return made;
}

postern_refusal postern_not_now(const char *text, const char *failure_class) {
  postern_refusal made = {.tag = POSTERN_DELIVERY_AGENT_TYPES_REFUSAL_DEFER_QUEUE};
  made.val.defer_queue = deferral(text, failure_class);
  return made;
}

void postern_report_for(postern_report *report, size_t count) {
  memset(report, 0, sizeof *report);
  report->outcomes.ptr = calloc(count ? count : 1, sizeof *report->outcomes.ptr);
  report->outcomes.len = count;
}

void postern_report_set(postern_report *report, size_t place, uint32_t recipient, postern_outcome outcome) {
  report->outcomes.ptr[place].recipient = recipient;
  report->outcomes.ptr[place].outcome = outcome;
}

postern_request postern_http_request(const char *method, const char *url) {
  postern_request made;
  memset(&made, 0, sizeof made);
  delivery_agent_string_dup(&made.method, method);
  delivery_agent_string_dup(&made.url, url);
  return made;
}

void postern_http_header(postern_request *request, const char *name, postern_string value) {
  size_t count = request->headers.len;
  request->headers.ptr = realloc(request->headers.ptr, (count + 1) * sizeof *request->headers.ptr);
  delivery_agent_string_dup(&request->headers.ptr[count].f0, name);
  delivery_agent_string_dup_n(&request->headers.ptr[count].f1, (const char *)value.ptr, value.len);
  request->headers.len = count + 1;
}

bool postern_http_send(postern_request *request, postern_answer *answer, postern_http_fault *fault) {
  bool ok = postern_delivery_agent_http_send(request, answer, fault);
  postern_delivery_agent_http_request_free(request);
  return ok;
}
