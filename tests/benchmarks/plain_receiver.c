/* The receiver in C: it reads a request and answers 200, in a thread for each connection. It prints its port. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 65536
static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void *serve(void *given) {
    int connection = (int)(intptr_t)given, yes = 1;
    char *head = malloc(HEAD_MAX + 1);
    size_t have = 0;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    for (;;) {
        char *end;
        head[have] = 0;
        while (!(end = strstr(head, "\r\n\r\n"))) {
            ssize_t got = have < HEAD_MAX ? read(connection, head + have, HEAD_MAX - have) : 0;
            if (got <= 0)
                goto done;
            have += got;
            head[have] = 0;
        }
        size_t length = 0, begin = end + 4 - head;
        for (char *line = head; line < end; line = strstr(line, "\r\n") + 2)
            if (!strncasecmp(line, "content-length:", 15))
                length = strtoul(line + 15, 0, 10);
        size_t in_head = have - begin < length ? have - begin : length, left = length - in_head;
        have -= begin + in_head;
        memmove(head, head + begin + in_head, have);
        while (left) { /* nothing follows in the buffer then, which the rest of the body may use */
            ssize_t got = read(connection, head, left < HEAD_MAX ? left : HEAD_MAX);
            if (got <= 0)
                goto done;
            left -= got;
        }
        if (write(connection, ANSWER, sizeof ANSWER - 1) != sizeof ANSWER - 1)
            goto done;
    }
done:
    free(head);
    close(connection);
    return 0;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN);
    if (bind(listener, (void *)&address, size) || listen(listener, 512))
        return 1;
    getsockname(listener, (void *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int connection = accept(listener, 0, 0);
        pthread_t thread;
        if (connection >= 0 && !pthread_create(&thread, 0, serve, (void *)(intptr_t)connection))
            pthread_detach(thread);
    }
}
