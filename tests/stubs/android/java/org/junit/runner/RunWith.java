package org.junit.runner;

/** Stub of https://junit.org/junit4/javadoc/4.13/org/junit/runner/RunWith.html. */
public @interface RunWith {
    Class<?> value();
}
