/* See postern_test.h. The linker takes these functions in the place of the bindings' own. */
#include "postern_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ANSWERS = 16, MOST_BYTES = 4096 };

static struct {
  const char *settings;
  struct { uint16_t status; const char *body; } answers[MOST_ANSWERS];
  int answered, answers_given, requests;
  char logged[MOST_BYTES], sent[MOST_BYTES];
  const char *text;
  const char *const *recipients;
} host = {.settings = "{}"};

void test_host(const char *settings) {
  memset(&host, 0, sizeof host);
  host.settings = settings;
}

void test_answer(uint16_t status, const char *body) {
  CHECK(host.answers_given < MOST_ANSWERS);
  host.answers[host.answers_given].status = status;
  host.answers[host.answers_given++].body = body;
}

const char *test_logged(void) { return host.logged; }
const char *test_sent(void) { return host.sent; }
int test_requests(void) { return host.requests; }

void test_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
  abort();
}

exports_postern_delivery_agent_agent_own_item_t test_item(const char *text, const char *const *recipients) {
  host.text = text;
  host.recipients = recipients;
  exports_postern_delivery_agent_agent_own_item_t item = {1};
  return item;
}

bool test_open(void) {
  postern_next_hop hop;
  delivery_agent_string_dup(&hop.connector, "test");
  delivery_agent_string_dup(&hop.protocol, "");
  delivery_agent_string_dup(&hop.destination, "box.example");
  postern_string label;
  postern_refusal refusal;
  bool ok = exports_postern_delivery_agent_agent_open_connection(&hop, &label, &refusal);
  if (ok) delivery_agent_string_free(&label);
  else postern_delivery_agent_types_refusal_free(&refusal);
  return ok;
}

postern_report test_deliver(exports_postern_delivery_agent_agent_own_item_t item) {
  postern_report report;
  postern_string error;
  if (!exports_postern_delivery_agent_agent_deliver(item, &report, &error)) {
    fprintf(stderr, "deliver failed: %.*s\n", (int)error.len, (const char *)error.ptr);
    abort();
  }
  return report;
}

bool test_outcome(const postern_report *report, size_t place, uint8_t tag, const char *text) {
  if (place >= report->outcomes.len) return false;
  const postern_outcome *outcome = &report->outcomes.ptr[place].outcome;
  /* Whatever the outcome is: but for `accepted`, its response stands first. */
  const postern_string *said = &outcome->val.delivered.text;
  return outcome->tag == tag && said->len == strlen(text) && !memcmp(said->ptr, text, said->len);
}

/* What the bindings import. */

void postern_delivery_agent_host_log(postern_delivery_agent_host_level_t level, delivery_agent_string_t *text) {
  (void)level;
  snprintf(host.logged, sizeof host.logged, "%.*s", (int)text->len, (const char *)text->ptr);
}

void postern_delivery_agent_host_settings(delivery_agent_string_t *ret) {
  delivery_agent_string_dup(ret, host.settings);
}

bool postern_delivery_agent_host_secret(delivery_agent_string_t *name, delivery_agent_string_t *ret) {
  (void)name;
  (void)ret;
  return false;
}

void postern_delivery_agent_host_now(delivery_agent_tuple2_u32_u32_t *ret) {
  ret->f0 = 1700000000;
  ret->f1 = 0;
}

void postern_delivery_agent_host_random(uint32_t length, delivery_agent_list_u8_t *ret) {
  ret->ptr = calloc(length ? length : 1, 1);
  ret->len = length;
}

uint32_t postern_delivery_agent_host_remaining_ms(void) { return 60000; }

postern_delivery_agent_mail_borrow_item_t postern_delivery_agent_mail_borrow_item(
    postern_delivery_agent_mail_own_item_t handle) {
  postern_delivery_agent_mail_borrow_item_t item = {handle.__handle};
  return item;
}

void postern_delivery_agent_mail_item_drop_own(postern_delivery_agent_mail_own_item_t handle) { (void)handle; }

void postern_delivery_agent_mail_method_item_envelope(postern_delivery_agent_mail_borrow_item_t self,
                                                      postern_delivery_agent_mail_envelope_t *ret) {
  (void)self;
  memset(ret, 0, sizeof *ret);
  delivery_agent_string_dup(&ret->item_id, "item-1");
  delivery_agent_string_dup(&ret->reverse_path, "jo@home.example");
  delivery_agent_string_dup(&ret->received_at, "2023-11-14T22:13:20Z");
  ret->attempt = 1;
  ret->size = (uint32_t)strlen(host.text);
}

void postern_delivery_agent_mail_method_item_recipients(postern_delivery_agent_mail_borrow_item_t self,
                                                        postern_delivery_agent_mail_list_recipient_t *ret) {
  (void)self;
  size_t count = 0;
  while (host.recipients[count]) ++count;
  ret->ptr = calloc(count ? count : 1, sizeof *ret->ptr);
  ret->len = count;
  for (size_t i = 0; i < count; ++i) {
    char key[32];
    snprintf(key, sizeof key, "item-1-%zu", i);
    ret->ptr[i].index = (uint32_t)i;
    delivery_agent_string_dup(&ret->ptr[i].address_type, "SMTP");
    delivery_agent_string_dup(&ret->ptr[i].address, host.recipients[i]);
    delivery_agent_string_dup(&ret->ptr[i].idempotency_key, key);
  }
}

bool postern_delivery_agent_mail_method_item_text(postern_delivery_agent_mail_borrow_item_t self, uint32_t max,
                                                  delivery_agent_option_string_t *ret,
                                                  delivery_agent_string_t *err) {
  (void)self;
  (void)err;
  size_t length = strlen(host.text);
  ret->is_some = length > 0;
  if (ret->is_some) delivery_agent_string_dup_n(&ret->val, host.text, length < max ? length : max);
  return true;
}

bool postern_delivery_agent_http_send(postern_delivery_agent_http_request_t *request,
                                      postern_delivery_agent_http_response_t *ret,
                                      postern_delivery_agent_http_fault_t *err) {
  int n = snprintf(host.sent, sizeof host.sent, "%.*s %.*s\n", (int)request->method.len,
                   (const char *)request->method.ptr, (int)request->url.len, (const char *)request->url.ptr);
  for (size_t i = 0; i < request->headers.len; ++i) {
    const delivery_agent_tuple2_string_string_t *h = &request->headers.ptr[i];
    n += snprintf(host.sent + n, sizeof host.sent - n, "%.*s: %.*s\n", (int)h->f0.len, (const char *)h->f0.ptr,
                  (int)h->f1.len, (const char *)h->f1.ptr);
  }
  snprintf(host.sent + n, sizeof host.sent - n, "\n%.*s", (int)request->body.len, (const char *)request->body.ptr);
  host.requests++;
  memset(ret, 0, sizeof *ret);
  if (host.answered == host.answers_given) {
    err->tag = POSTERN_DELIVERY_AGENT_HTTP_FAULT_CONNECT;
    delivery_agent_string_dup(&err->val.connect, "the network is down");
    return false;
  }
  ret->status = host.answers[host.answered].status;
  const char *body = host.answers[host.answered++].body;
  ret->body.len = strlen(body);
  ret->body.ptr = malloc(ret->body.len ? ret->body.len : 1);
  memcpy(ret->body.ptr, body, ret->body.len);
  return true;
}
