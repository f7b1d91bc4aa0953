/* A host for unit tests on this machine. Not part of a component. */
#ifndef POSTERN_TEST_H
#define POSTERN_TEST_H

#include "postern.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A host with these settings (JSON), whose network is down, and nothing logged and sent yet. */
void test_host(const char *settings);
/* The next request without an answer gets this one. */
void test_answer(uint16_t status, const char *body);
/* What was logged last, and what was sent last: "METHOD URL", then header lines, an empty line, the body. */
const char *test_logged(void);
const char *test_sent(void);
/* How many requests were sent. */
int test_requests(void);
/* An item with this text, for these recipients ("ann@box.example", ..., NULL), that are numbered from 0. */
exports_postern_delivery_agent_agent_own_item_t test_item(const char *text, const char *const *recipients);
/* Opens a connection; whether the agent did. */
bool test_open(void);
/* Delivers, and aborts when the agent gives an error instead of a report. */
postern_report test_deliver(exports_postern_delivery_agent_agent_own_item_t item);
/* Whether the outcome of a place in the report is this one (POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_...) with this text. */
bool test_outcome(const postern_report *report, size_t place, uint8_t tag, const char *text);

/* Aborts with the line when something does not hold. */
#define CHECK(holds) \
  do { \
    if (!(holds)) test_fail(__FILE__, __LINE__, #holds); \
  } while (0)
void test_fail(const char *file, int line, const char *what);

#ifdef __cplusplus
}
#endif
#endif
