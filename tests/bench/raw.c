/* The practical limit to measure against: a bare epoll loop with http-parser and one fixed answer, nothing else.
 * raw PORT: one process on 127.0.0.1. Answers of one read leave in one send. No part of the server; used by bench.py. */
#include <errno.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, INPUT = 16384, OUTPUT = 65536, ANSWER_MAX = 256 };

struct client {
    http_parser parser;
    int fd, last; /* last: close after the answer */
};

static char output[OUTPUT + ANSWER_MAX], answer[ANSWER_MAX];
static size_t output_n, answer_n;
static time_t answered_at;

static void make_answer(void)
{
    time_t now = time(NULL);
    if (now == answered_at) return;
    struct tm tm;
    char date[64];
    answered_at = now;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    answer_n = (size_t) snprintf(answer, sizeof answer,
        "HTTP/1.1 200 OK\r\nServer: raw/0.1\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\nHello, world!",
        date);
}

static int complete(http_parser *parser)
{
    struct client *c = parser->data;
    memcpy(output + output_n, answer, answer_n);
    output_n += answer_n;
    if (!http_should_keep_alive(parser)) c->last = 1;
    return output_n > OUTPUT || c->last; /* more than fits is a client that bench.py is not */
}

static const http_parser_settings settings = {.on_message_complete = complete};

static void drop(struct client *c)
{
    close(c->fd);
    free(c);
}

static void serve(struct client *c)
{
    char input[INPUT];
    ssize_t n = recv(c->fd, input, sizeof input, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        drop(c);
        return;
    }
    output_n = 0;
    http_parser_execute(&c->parser, &settings, input, (size_t) n);
    int bad = c->parser.http_errno != HPE_OK && !c->last;
    if (output_n && send(c->fd, output, output_n, MSG_NOSIGNAL) != (ssize_t) output_n) bad = 1;
    if (bad || c->last) drop(c);
}

static void take(int epoll, int listener)
{
    for (int i = 0; i < 8; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct client *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c) abort();
        c->fd = fd;
        c->parser.data = c;
        http_parser_init(&c->parser, HTTP_REQUEST);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) abort();
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), epoll = epoll_create1(EPOLL_CLOEXEC);
    address.sin_port = htons((uint16_t) (argc > 1 ? atoi(argv[1]) : 0));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    if (bind(listener, (struct sockaddr *) &address, sizeof address) != 0 || listen(listener, 2048) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        perror("raw");
        return 1;
    }
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        make_answer();
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) serve(events[i].data.ptr);
            else take(epoll, listener);
        }
    }
}
