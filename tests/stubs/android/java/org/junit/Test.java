package org.junit;

import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;

/** Stub of https://junit.org/junit4/javadoc/4.13/org/junit/Test.html. */
@Retention(RetentionPolicy.RUNTIME)
public @interface Test {}
